"""Import path of SDK 0.6.7."""

from resonate.encoders import NoopEncoder

__all__ = ["NoopEncoder"]
