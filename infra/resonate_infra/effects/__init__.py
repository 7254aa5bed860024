"""What a deployment does after a write: effects are carried out, timers armed, messages sent. Internal."""
