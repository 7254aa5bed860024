"""Delivery of the effects of a write by the process that wrote (docs/rules.md W14 to W18). Internal."""
