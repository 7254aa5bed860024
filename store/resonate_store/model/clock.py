"""Source of time. Only this module reads the machine's clock.

Every component that needs the current time takes a `Clock`. Tests and the offline stack can then move the time instead
of waiting, and one operation reads the time once.

Instants are integers in milliseconds since the Unix epoch. Durations are milliseconds in the store, and seconds
(floats) in the API for workflows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

LONGEST_WAIT_S = 86_400.0
"""The longest time (s) that a thread waits for an instant before it checks again."""


class Clock(Protocol):
    """A source of time that can also wait."""

    def now(self) -> int:
        """Return the current instant (ms)."""
        ...

    def sleep(self, milliseconds: int) -> None:
        """Return when `milliseconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock. It does not go back within one process."""

    def __init__(self) -> None:
        self._latest = 0

    def now(self) -> int:
        now = time.time_ns() // 1_000_000
        if now > self._latest:
            self._latest = now
        return self._latest

    def sleep(self, milliseconds: int) -> None:
        if milliseconds > 0:
            time.sleep(milliseconds / 1000)


class ManualClock:
    """A clock that does not run: `advance`, `advance_to` and `sleep` move it.

    Args:
        start: the first instant, in milliseconds since the epoch.
    """

    def __init__(self, start: int = 1_750_000_000_000) -> None:
        self._lock = threading.Lock()
        self._now = start

    def now(self) -> int:
        return self._now

    def sleep(self, milliseconds: int) -> None:
        self.advance(max(0, milliseconds))

    def advance(self, milliseconds: int) -> int:
        """Move the clock forward and return the new instant (ms).

        Raises:
            ValueError: `milliseconds` is negative.
        """
        if milliseconds < 0:
            raise ValueError(f"a clock cannot go back: advance({milliseconds})")
        with self._lock:
            self._now += milliseconds
            return self._now

    def advance_to(self, instant: int) -> int:
        """Move the clock to `instant` (ms) unless it is already later, and return its time."""
        with self._lock:
            self._now = max(self._now, instant)
            return self._now


_ambient: Clock = SystemClock()


def ambient() -> Clock:
    """Return the clock of components that were not given one: the machine's, or the one that `installed` has set."""
    return _ambient


@contextmanager
def installed(clock: Clock) -> Generator[Clock]:
    """Make `clock` the ambient clock while the block runs. Used by tests and the offline stack."""
    global _ambient
    before, _ambient = _ambient, clock
    try:
        yield clock
    finally:
        _ambient = before


def instant(at: float) -> str:
    """Return an instant (ms) in UTC as ISO 8601, or `never` if it is after the year 9999."""
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=at)
    except OverflowError:
        return "never"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
