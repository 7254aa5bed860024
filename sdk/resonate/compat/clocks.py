"""Clock that a test moves, for the dependency `resonate:time`."""

from __future__ import annotations

import time


class StepClock:
    """Clock that a test moves with `step`; it begins at the epoch.

    `resonate.set_dependency("resonate:time", StepClock())` makes `ctx.time` read it.
    """

    def __init__(self) -> None:
        self._time = 0.0

    def step(self, time: float) -> None:
        """Move the clock to the instant `time`, in seconds since the epoch.

        Raises:
            AssertionError: the clock is past it.
        """
        assert time >= self._time, "The arrow of time only flows forward."
        self._time = time

    def time(self) -> float:
        """Return the instant in seconds since the epoch."""
        return self._time

    def strftime(self, format: str, /) -> str:
        """Return the instant as text in UTC, in a `format` of `time.strftime`."""
        return time.strftime(format, time.gmtime(self._time))
