"""Stores by the names that programs of SDK 0.6.7 import."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resonate.stores.local import LocalStore
    from resonate.stores.remote import RemoteStore


def __getattr__(name: str) -> Any:
    # Each is loaded when it is asked for: in memory no client of a server is needed, and with a server no memory.
    if name == "LocalStore":
        from resonate.stores.local import LocalStore

        return LocalStore
    if name == "RemoteStore":
        from resonate.stores.remote import RemoteStore

        return RemoteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LocalStore", "RemoteStore"]
