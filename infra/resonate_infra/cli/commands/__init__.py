"""Commands of `resonate`, one module for each group. Internal."""
