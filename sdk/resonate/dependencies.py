"""What functions may ask their context for, by name; a plain dictionary does as well."""

from __future__ import annotations

from typing import Any


class Dependencies(dict[str, Any]):
    """A dictionary with the method that programs of SDK 0.6.7 fill it by."""

    def add(self, key: str, obj: Any) -> None:
        """Let `ctx.get_dependency(key)` find `obj`."""
        self[key] = obj
