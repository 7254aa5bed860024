"""Import path of SDK 0.6.7."""

from resonate.message_sources.local import MessageSource

__all__ = ["MessageSource"]
