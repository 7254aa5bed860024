"""A clock for stacks that several tests share."""

from __future__ import annotations

from resonate_store.model.clock import ManualClock


class SettableClock(ManualClock):
    """A manual clock that also goes back, so that each test of a shared stack begins at its own instant."""

    _offset = 0

    def set(self, instant: int) -> None:
        """Show this instant (ms)."""
        self._offset = instant - super().now()

    def now(self) -> int:
        return super().now() + self._offset

    def advance(self, milliseconds: int) -> int:
        return super().advance(milliseconds) + self._offset

    def advance_to(self, instant: int) -> int:
        return super().advance_to(instant - self._offset) + self._offset
