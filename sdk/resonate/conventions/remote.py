"""Import path of SDK 0.6.7."""

from resonate.compat.conventions import Remote

__all__ = ["Remote"]
