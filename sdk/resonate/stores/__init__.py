"""Stores by the names that programs of the seeds import."""

from resonate.stores.local import LocalStore

__all__ = ["LocalStore"]
