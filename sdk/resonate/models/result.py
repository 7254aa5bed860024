"""Import path of SDK 0.6.7."""

from resonate.compat.results import Ko, Ok, Result

__all__ = ["Ko", "Ok", "Result"]
