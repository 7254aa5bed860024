"""Import path of SDK 0.6.7."""

from resonate.promises import Callback

__all__ = ["Callback"]
