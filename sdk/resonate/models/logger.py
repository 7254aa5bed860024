"""Import path of SDK 0.6.7."""

from resonate.compat.protocols import Logger

__all__ = ["Logger"]
