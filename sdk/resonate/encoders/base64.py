"""Import path of SDK 0.6.7."""

from resonate.encoders import Base64Encoder

__all__ = ["Base64Encoder"]
