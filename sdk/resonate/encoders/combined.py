"""Import path of SDK 0.6.7."""

from resonate.encoders import CombinedEncoder

__all__ = ["CombinedEncoder"]
