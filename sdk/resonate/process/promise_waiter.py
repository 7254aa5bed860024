"""Waits of callers in this process for promises: by messages if they arrive, else by polling.

With messages, a caller registers a listener and then reads the promise once more, because it may have settled in
between. A server can lose a message, so with a server both are repeated every minute. A store in this process does not
lose messages; the promise is read because a halted task sends no message. When a worker of this process halts a task,
its callers read at once. Without messages the promise is polled, with pauses that grow. That happens without a source,
and while its connection is down. When the connection is made or lost, all callers read at once and continue in the
other way.

Polling waits sleep on the injected clock. With a clock that a test moves, such a sleep may move the time. Waits for a
message use real time, because another thread delivers it.

A wait uses the caller's own thread. Threads, tasks and leases belong to the runtime (`runtime`).
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from msgspec import MsgspecError, convert

from resonate.errors import ResonateHaltedError, ResonateShutdownError, ResonateStoreError, refusal
from resonate.message_sources.source import Messages
from resonate.worker.resources import Resources
from resonate_store.interface import PlainStore, StoreUnreachable
from resonate_store.model.addresses import wait_for
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseGet, PromiseRegisterListener, Response
from resonate_store.model.tags import TARGET

logger = logging.getLogger("resonate.runtime")

GLANCE_S = 1.0
"""Interval of reads of a promise in a store of this process, and so the delay until a halted task is noticed."""
FIRST_LOOK_S = 0.02
"""First pause of a poll.

Each pause is 1.5 times the one before, up to `GLANCE_S`. Later it is a tenth of the time waited so far, up to
`LAST_LOOK_S`.
"""
LAST_LOOK_S = 10.0
REFRESH_S = 60.0
"""Interval at which a listener is registered again, and the promise read: a server sends a message only once."""
UNSERVED_MS = 5_000
"""Length of a wait after which a warning says that no worker serves the target. Until then, one may be starting."""
SLICE_S = 0.1
"""Interval at which a pause of a poll is interrupted to check whether to continue."""


class Watcher(threading.Thread):
    """Daemon thread that waits for a promise on behalf of a future.

    It can end with the process, because the promise is stored. Stopping the runtime ends its wait and so the thread.
    """

    def __init__(self, name: str, watch: Callable[[], None]) -> None:
        super().__init__(target=watch, name=name, daemon=True)


class Waits:
    """The waits of all callers in this process, each in its caller's thread.

    Args:
        resources: the store and clock of the process. While it is stopping, a caller whose promise is pending gets an
            error instead of waiting longer.
        source: where messages come from; None if promises can only be read.
    """

    def __init__(self, resources: Resources, source: Messages | None) -> None:
        inner = resources.underlying
        self._resources = resources
        self._store = resources.store
        self._clock = resources.clock
        self._embedded = resources.store.embedded is not None
        self._distant = resources.store.distant
        store = resources.store
        self._plain = inner is store or (isinstance(store, PlainStore) and store.is_of(inner))
        self._source = source
        self._lock = threading.RLock()  # reentrant: a signal handler may call `stop` while it is held
        self._waits: dict[str, list[_Wait]] = {}
        self._watchers: set[Watcher] = set()

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        """Wait for a promise; see `Awaiter.settled`."""
        if self._embedded:  # a read costs less than the preparation of a wait
            promise = _found(id, self._store.apply(PromiseGet(id)))
            if promise is not None and not promise.pending:
                return promise
        began = self._clock.now()
        told = False
        longest_s = GLANCE_S if self._embedded else REFRESH_S
        with self._waiting(id) as wait:
            pause_s = FIRST_LOOK_S
            while True:
                wait.news.clear()
                left_s = None if timeout is None else timeout - (self._clock.now() - began) / 1000
                if wait.promise is not None:
                    return wait.promise
                promise = self._look(id, wait, left_s, merely=timeout == 0)
                if promise is not None and not promise.pending:
                    return promise
                if not told and wait.unserved is not None and self._clock.now() - began >= UNSERVED_MS:
                    told = True
                    logger.warning("%s is %s", id, wait.unserved)
                if wait.stopped or self._resources.stopping:
                    raise ResonateShutdownError(f"stopped while waiting for {id}")
                if left_s is not None:
                    left_s = (timeout or 0) - (self._clock.now() - began) / 1000
                    if left_s <= 0:
                        return None
                if wait.listening and self._connected:
                    soon_s = UNSERVED_MS / 1000 if wait.unserved is not None and not told else longest_s
                    wait.news.wait(soon_s if left_s is None else min(soon_s, left_s))
                else:
                    self._rest(wait, pause_s if left_s is None else min(pause_s, left_s))
                    waited_s = (self._clock.now() - began) / 1000
                    pause_s = max(min(pause_s * 1.5, GLANCE_S), min(waited_s / 10, LAST_LOOK_S))

    def unblock(self, data: Any) -> None:
        """Wake the callers that wait for the promise of an unblock message, whose data may be malformed."""
        with self._lock:
            waits = list(self._waits.get(data["id"], ()))
        for wait in waits:
            try:
                promise = convert(data, PromiseView)
            except MsgspecError:
                promise = None  # the caller reads the promise
            if promise is not None and not promise.pending and self._plain:  # else the caller reads and decrypts it
                wait.promise = promise
            wait.news.set()

    def look_again(self, id: str | None = None) -> None:
        """Make callers read their promises: those of the promise `id`, else all of them.

        That is necessary when the connection of the message source was made or lost, and when a task is halted.
        """
        with self._lock:
            waits = itertools.chain.from_iterable(self._waits.values()) if id is None else self._waits.get(id, ())
            for wait in waits:
                wait.news.set()

    def stop(self) -> None:
        """Make all callers read their promises once more, and then raise `ResonateShutdownError`."""
        with self._lock:
            for wait in itertools.chain.from_iterable(self._waits.values()):
                wait.stopped = True
                wait.news.set()

    def watchers(self) -> list[Watcher]:
        """Return the threads of handles that wait now. After `stop` they are about to end."""
        with self._lock:
            return list(self._watchers)

    @property
    def _connected(self) -> bool:
        return self._source is not None and self._source.connected

    @contextmanager
    def _waiting(self, id: str) -> Generator[_Wait]:
        wait = _Wait()
        thread = threading.current_thread()
        watcher = thread if isinstance(thread, Watcher) else None
        with self._lock:
            self._waits.setdefault(id, []).append(wait)
            if watcher is not None:
                self._watchers.add(watcher)
        try:
            yield wait
        finally:
            with self._lock:
                waits = self._waits[id]
                waits.remove(wait)
                if not waits:
                    del self._waits[id]
                if watcher is not None:
                    self._watchers.discard(watcher)

    def _look(self, id: str, wait: _Wait, seconds: float | None, *, merely: bool) -> PromiseView | None:
        """Return the promise as it is now; None if the store cannot be reached.

        If messages arrive, register a listener first, and again every minute.

        Args:
            id: the promise.
            wait: the caller's wait.
            seconds: the maximum time of the read; None for no limit.
            merely: whether the caller does not wait, so that no listener is registered.
        """
        store = self._store
        if seconds is not None and not merely and self._plain and self._distant is not None:
            store = self._distant.within(max(seconds, SLICE_S))
        try:
            if not merely and self._source is not None and self._source.connected:
                now = self._clock.now()
                if not wait.listening or (not self._embedded and now - wait.listened_at >= REFRESH_S * 1000):
                    promise = _found(id, store.apply(PromiseRegisterListener(id, self._source.unicast)))
                    if promise is None or not promise.pending:
                        return promise
                    wait.listening, wait.listened_at = True, now
            response = store.apply(PromiseGet(id))
        except StoreUnreachable:
            if merely:
                raise
            return None
        promise = _found(id, response)
        wait.unserved = None
        if promise is not None and response.task is not None and response.task.workers == 0:
            wait.unserved = wait_for(promise.tags.get(TARGET, ""), 0)
        if promise is not None and promise.pending and response.task is not None and response.task.state == "halted":
            raise ResonateHaltedError(id, response.task.error or "no reason was given")
        return promise

    def _rest(self, wait: _Wait, seconds: float) -> None:
        """Sleep on the clock until the pause or the wait is over. In a test this sleep may move the clock."""
        end = self._clock.now() + round(seconds * 1000)
        while not wait.news.is_set() and (left_ms := end - self._clock.now()) > 0:
            self._clock.sleep(min(left_ms, round(SLICE_S * 1000)))


class _Wait:
    """One caller's wait for one promise."""

    __slots__ = ("listened_at", "listening", "news", "promise", "stopped", "unserved")

    def __init__(self) -> None:
        self.news = threading.Event()
        self.promise: PromiseView | None = None
        self.listening = False
        self.listened_at = 0
        self.stopped = False
        self.unserved: str | None = None


def _found(id: str, response: Response) -> PromiseView | None:
    """Return the promise of a response; None if the store has failed, which may be temporary.

    Raises:
        ResonateStoreError: the promise does not exist, or this caller may not read it.
    """
    if response.promise is not None or response.status >= 500:
        return response.promise
    if response.status == 404:
        raise ResonateStoreError("The specified promise was not found", 40400, {"id": id})
    raise refusal(response.status, response.error, {"id": id})
