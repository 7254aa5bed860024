"""What makes time pass for a store: one thread that wakes what is due, when it is due.

Timers, deadlines, leases, redispatch and cron are all the store's `tick`; the thread sleeps until `next_wake_at`, and
whatever moves that instant nearer wakes it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from resonate_store.interface import StoreError
from resonate_store.model.clock import Clock

LONGEST_SLEEP_MS = 60_000
"""The machine's clock may be set while the thread sleeps; it looks again after this time."""
PAUSE_MS = 1_000
"""The pause after the store could not do what was due."""

logger = logging.getLogger("resonate.server")


class Waking(Protocol):
    """A store in which nothing happens by itself."""

    def subscribe(self, *, on_wake: Callable[[int], None] | None = None) -> object:
        """Call `on_wake` with the instant (ms) at which something is due, when that is sooner than was known."""

    def next_wake_at(self) -> int | None: ...

    def tick(self) -> int: ...


class WakeLoop:
    """The thread that wakes the entries of a store.

    Args:
        store: its next wake-up is listened to.
        clock: the source of time, the same as the store's.
        paused: whether somebody else moves time on, by hand; `nudge` when that has ended.
    """

    def __init__(self, store: Waking, clock: Clock, paused: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._clock = clock
        self._paused = paused
        self._nudged = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="resonate-wake", daemon=True)
        store.subscribe(on_wake=lambda _at: self.nudge())

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Wake nothing any more; wait `seconds` at most for what is being woken."""
        self._stopped = True
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def nudge(self) -> None:
        """Look again at what is due."""
        self._nudged.set()

    def _run(self) -> None:
        while not self._stopped:
            self._nudged.clear()
            if (milliseconds := self._step()) > 0:
                self._nudged.wait(milliseconds / 1000)

    def _step(self) -> int:
        """Do what is due, and return how long there is nothing to do (ms)."""
        if self._paused():
            return LONGEST_SLEEP_MS
        try:
            at = self._store.next_wake_at()
            if at is None:
                return LONGEST_SLEEP_MS
            distance = at - self._clock.now()
            if distance > 0:
                return min(distance, LONGEST_SLEEP_MS)
            self._store.tick()
            return 0
        except StoreError as error:
            # A store that is busy or out of reach now may not be a second later.
            logger.error("what is due could not be done, trying again: %s", error)
            return PAUSE_MS
        except Exception:
            logger.exception("what is due could not be done, trying again")
            return PAUSE_MS
