"""Stores by the names that programs of the seeds import."""

from typing import TYPE_CHECKING, Any

from resonate.stores.local import LocalStore

if TYPE_CHECKING:
    from resonate_store.remote import RemoteStore


def __getattr__(name: str) -> Any:
    if name == "RemoteStore":
        # Whoever works in memory needs no client of a server.
        from resonate_store.remote import RemoteStore

        return RemoteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LocalStore", "RemoteStore"]
