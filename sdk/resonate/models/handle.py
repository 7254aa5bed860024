"""Import path of SDK 0.6.7."""

from resonate.client.handle import Handle

__all__ = ["Handle"]
