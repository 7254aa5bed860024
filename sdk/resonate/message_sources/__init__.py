"""Where the messages of a store arrive, by the names that programs of the seeds import."""

from resonate.message_sources.local import LocalMessageSource, Message, MessageSource

__all__ = ["LocalMessageSource", "Message", "MessageSource"]
