"""Checks of `resonate doctor`: one function for each, in a table (`checks`). Internal."""
