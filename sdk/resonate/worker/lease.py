"""Lease of this process on a task: when it ends, and when the store last confirmed it.

A worker starts nothing for a task after the end of its lease, nor more than `NEWS_MS` after the last confirmation that
it holds the task (docs/rules.md L9). A confirmation is the acquisition, or a write that the store fences by the task's
version. If those are too old, the worker reads the version (docs/decisions/0042).
"""

from __future__ import annotations

import threading
from typing import Final

from resonate_store.interface import Store, StoreError
from resonate_store.model.clock import Clock
from resonate_store.model.requests import TaskVerify

NEWS_MS: Final = 2_000
"""How long a worker works on a task without a confirmation that it holds it."""


class Lost(Exception):
    """Another worker holds the task, or its promise is settled: the store ignores this process's writes."""


class Lease:
    """Lease of this process on one task.

    Args:
        id: the task.
        version: the version at which it is held.
        asked_at: the instant (ms) at which the acquisition was sent. So the lease does not end later here than in the
            store.
        ttl_ms: its length.

    Attributes:
        ends_at: the instant (ms) at which it ends on this process's clock.
        sure_until: the last instant (ms) at which something may start without a request to the store.
        ended: whether this process holds the task at a newer version.
        cancel: the reason of the execution's cancellation, if a response of the store had one.
    """

    __slots__ = ("_changing", "_confirmed_at", "_reading", "cancel", "ended", "ends_at", "id", "sure_until", "version")

    def __init__(self, id: str, version: int, asked_at: int, ttl_ms: int) -> None:
        self.id = id
        self.version = version
        self.ends_at = asked_at + ttl_ms
        self.ended = False
        self.cancel: str | None = None
        self._confirmed_at = asked_at
        self._reading = threading.Lock()
        self._changing = threading.Lock()
        self.sure_until = asked_at + (NEWS_MS if ttl_ms > NEWS_MS else ttl_ms - 1)

    def extend(self, asked_at: int, ttl_ms: int) -> None:
        """Note that a heartbeat sent at `asked_at` was answered. The answer does not show whether the task is held."""
        with self._changing:
            if not self.ended:
                self.ends_at = max(self.ends_at, asked_at + ttl_ms)
                self.sure_until = min(self.ends_at - 1, self._confirmed_at + NEWS_MS)

    def confirm(self, asked_at: int) -> None:
        """Note that the store has accepted a request that only the holder of the task may make, sent at `asked_at`."""
        if asked_at == self._confirmed_at:
            return
        with self._changing:
            if not self.ended:
                self._confirmed_at = asked_at
                until = asked_at + NEWS_MS
                self.sure_until = until if until < self.ends_at else self.ends_at - 1

    def end(self) -> None:
        """End the lease for good: its attempt starts nothing more, and its worker reports the task as lost."""
        with self._changing:
            self.ended = True
            self.ends_at = self.sure_until = 0

    def check(self, store: Store, clock: Clock) -> None:
        """Return if something may start for the task now; ask the store if the last confirmation is too old.

        Raises:
            Lost: the lease has ended, or this process does not hold the task.
            StoreError: the store cannot answer.
        """
        if clock.now() <= self.sure_until:
            return
        with self._reading:
            now = clock.now()
            if now <= self.sure_until:  # another thread has asked meanwhile
                return
            if now < self.ends_at:
                self.verify(store, now)
                now = clock.now()
            if now >= self.ends_at:
                raise Lost

    def verify(self, store: Store, now: int, *, consistent: bool = False) -> None:
        """Ask the store whether the task is still held at its version.

        Raises:
            Lost: it is not held at this version.
            StoreError: the store cannot answer.
        """
        response = store.apply(TaskVerify(self.id, self.version, consistent))
        if response.status in (404, 409):
            raise Lost
        if not response.ok:
            raise StoreError(response.error or f"the store answered {response.status}")
        if response.task is not None:
            self.cancel = response.task.cancel
        self.confirm(now)
