"""Import path of SDK 0.6.7."""

from resonate.retry_policies import Linear

__all__ = ["Linear"]
