"""Wake loop: one thread that calls the store's `tick` when something is due.

`tick` handles timers, deadlines, leases, redispatch and cron. The thread sleeps until `next_wake_at`. The store wakes
the thread when that instant becomes earlier.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from resonate_store.interface import StoreError
from resonate_store.model.clock import Clock

LONGEST_SLEEP_MS = 60_000
"""Maximum milliseconds that the thread sleeps, because the machine's clock may be set meanwhile."""
PAUSE_MS = 1_000
"""Milliseconds to wait after `tick` has failed."""

logger = logging.getLogger("resonate.server")


class Waking(Protocol):
    """Store that acts on time only in `tick`."""

    def subscribe(self, *, on_wake: Callable[[int], None] | None = None) -> object:
        """Call `on_wake` with an instant (ms) at which something is due, if it is earlier than `next_wake_at` was."""

    def next_wake_at(self) -> int | None: ...

    def tick(self) -> int: ...


class WakeLoop:
    """Thread that wakes the due entries of a store.

    Args:
        store: the store.
        clock: the store's source of time.
        paused: returns whether debug requests move the clock, so that the loop waits. Call `nudge` after that has
            ended.
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
        """Stop the thread. Wait at most `seconds` for the entries that it is waking."""
        self._stopped = True
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def nudge(self) -> None:
        """Make the thread check again what is due."""
        self._nudged.set()

    def _run(self) -> None:
        while not self._stopped:
            self._nudged.clear()
            if (milliseconds := self._step()) > 0:
                self._nudged.wait(milliseconds / 1000)

    def _step(self) -> int:
        """Wake what is due. Return for how many ms nothing will be due."""
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
            # The store may be busy or unreachable only for a short time.
            logger.error("waking what is due failed, trying again: %s", error)
            return PAUSE_MS
        except Exception:
            logger.exception("waking what is due failed, trying again")
            return PAUSE_MS
