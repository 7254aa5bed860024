"""The commands of `resonate`, a module each. Internal."""
