"""Dependencies of functions: objects that `ctx.get_dependency` returns, by name."""

from __future__ import annotations

from typing import Any


class Dependencies(dict[str, Any]):
    """Dictionary of dependencies with the `add` of SDK 0.6.7; `Resonate(dependencies=...)` takes any dictionary."""

    def add(self, key: str, obj: Any) -> None:
        """Make `ctx.get_dependency(key)` return `obj`."""
        self[key] = obj
