"""Checks of single fields, and of requests about schedules. `machine/validation` lists all checks."""
