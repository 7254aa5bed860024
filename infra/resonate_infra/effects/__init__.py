"""Delivery of the effects of writes on AWS: timers, schedules, messages, and the sweep. Internal."""
