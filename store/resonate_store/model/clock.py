"""The one door to wall-clock time.

Durable execution is bookkeeping about instants: deadlines, leases, wake-ups. Everything that needs "now" takes a
`Clock`, so that tests and the offline stack can move time instead of waiting for it, and so that one operation reads
the time once. All instants in this project are integers in milliseconds since the Unix epoch; durations are
milliseconds in the store and seconds (floats) at the programming model's surface.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

LONGEST_WAIT_S = 86_400.0
"""Seconds: who waits for an instant looks again after this time. What is never due is too far off for a thread."""


class Clock(Protocol):
    """A source of time that can also be waited on."""

    def now(self) -> int:
        """The current instant in milliseconds since the Unix epoch."""
        ...

    def sleep(self, milliseconds: int) -> None:
        """Return once `milliseconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock, made monotonic: it never steps back within one process."""

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
    """A clock that stands still until it is moved; sleeping moves it.

    Args:
        start: the first instant, milliseconds since the epoch.
    """

    def __init__(self, start: int = 1_750_000_000_000) -> None:
        self._lock = threading.Lock()
        self._now = start

    def now(self) -> int:
        return self._now

    def sleep(self, milliseconds: int) -> None:
        self.advance(max(0, milliseconds))

    def advance(self, milliseconds: int) -> int:
        """Move the clock forward and return the new instant; a negative distance raises ValueError."""
        if milliseconds < 0:
            raise ValueError(f"a clock cannot go back: advance({milliseconds})")
        with self._lock:
            self._now += milliseconds
            return self._now

    def advance_to(self, instant: int) -> int:
        """Move the clock to `instant` unless it is already past it, and return the time it then shows."""
        with self._lock:
            self._now = max(self._now, instant)
            return self._now


_ambient: Clock = SystemClock()


def ambient() -> Clock:
    """The clock of whoever was not given one: the machine's, unless `installed` says otherwise."""
    return _ambient


@contextmanager
def installed(clock: Clock) -> Generator[Clock]:
    """Make `clock` the ambient one for as long as the block runs; for tests and the offline stack."""
    global _ambient
    before, _ambient = _ambient, clock
    try:
        yield clock
    finally:
        _ambient = before


def instant(at: int) -> str:
    """Write an instant (milliseconds since the epoch) in UTC, as ISO 8601; beyond the year 9999 as `never`."""
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=at)
    except OverflowError:
        return "never"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
