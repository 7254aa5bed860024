"""Import path of SDK 0.6.7."""

from resonate.stores.local import LocalTask as Task

__all__ = ["Task"]
