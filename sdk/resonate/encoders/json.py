"""Import path of SDK 0.6.7."""

from resonate.encoders import JsonEncoder

__all__ = ["JsonEncoder"]
