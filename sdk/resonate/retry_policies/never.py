"""Import path of SDK 0.6.7."""

from resonate.retry_policies import Never

__all__ = ["Never"]
