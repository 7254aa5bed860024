"""Stores whose promises, tasks and schedules can be used directly, as in SDK 0.6.7.

`LocalStore` and `RemoteStore` are public; everything else in this package is internal.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resonate.stores.local import LocalStore
    from resonate.stores.remote import RemoteStore


def __getattr__(name: str) -> Any:
    # Each is loaded on first use: most programs need only one of them.
    if name == "LocalStore":
        from resonate.stores.local import LocalStore

        return LocalStore
    if name == "RemoteStore":
        from resonate.stores.remote import RemoteStore

        return RemoteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LocalStore", "RemoteStore"]
