"""Sources of a store's messages. The names in `__all__` are public; everything else in this package is internal."""

from typing import TYPE_CHECKING, Any

from resonate.message_sources.source import Messages

if TYPE_CHECKING:
    from resonate.message_sources.local import LocalMessageSource, Message, MessageSource
    from resonate.message_sources.poller import Poller


def __getattr__(name: str) -> Any:
    # Each is loaded on first use: most programs need neither a queue nor a client for HTTP.
    if name in ("LocalMessageSource", "Message", "MessageSource"):
        from resonate.message_sources import local

        return getattr(local, name)
    if name == "Poller":
        from resonate.message_sources.poller import Poller

        return Poller
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LocalMessageSource", "Message", "MessageSource", "Messages", "Poller"]
