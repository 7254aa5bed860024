"""A store that lives in one process, whatever keeps its records: requests, effects, ticks and messages.

A substrate of this kind fetches and keeps records under one lock; everything else about it is here. Effects are carried
out in process, together with the write that they follow from. Nothing runs by itself: `tick` does what is due, and
its owner calls it when `next_wake_at` comes. Messages leave outside the lock, to the one subscriber: a
receiver may call back at once.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

from resonate_store.interface import DamagedRecord, Send, Store, deliver, whole
from resonate_store.machine import Outcome, decide, perform, with_all_told
from resonate_store.machine.draft import Need
from resonate_store.machine.effects import Change, Unblock, message_of, repeated
from resonate_store.machine.validation import problem_with
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.records import Key, PromiseView, Record, key_of
from resonate_store.model.requests import PromiseWake, Request, Response, ScheduleFire, TaskHeartbeat

BATCH: Final = 100
"""Entries that one tick wakes before it lets others have the store."""
MAX_EXTENDED: Final = 500
"""Tasks of a heartbeat that are extended before others get the store."""

logger = logging.getLogger("resonate.store")


def unheard(address: str, message: dict[str, Any]) -> Literal[False]:  # noqa: ARG001
    """Nobody is connected: a lost execute message is offered again, a lost unblock message is read instead."""
    return False


class Subscribable:
    """A store whose messages and wake-ups go to one listener.

    Args:
        send: where messages go until a listener subscribes.
    """

    def __init__(self, send: Send = unheard) -> None:
        self._send: Send = send
        self._on_wake: Callable[[int], None] | None = None

    @property
    def send(self) -> Send:
        """Where messages go."""
        return self._send

    @property
    def on_wake(self) -> Callable[[int], None] | None:
        """What is told the instant (milliseconds) whenever the next wake-up comes nearer."""
        return self._on_wake

    def subscribe(self, *, send: Send | None = None, on_wake: Callable[[int], None] | None = None) -> Send:
        """Listen to the store in place of the present listener.

        Args:
            send: takes an address and a message; called outside the store's lock, and must not wait for the receiver.
            on_wake: takes the instant (milliseconds) of the next wake-up whenever that comes nearer.

        Returns:
            Where messages went before, for listeners that take only some of them.
        """
        before = self._send
        self._send = send or before
        self._on_wake = on_wake or self._on_wake
        return before


class EmbeddedStore(Subscribable, Store, ABC):
    """What the stores in this process have in common.

    Args:
        clock: the source of time.
        send: takes an address and a message; called outside the store's lock, and must not wait for the receiver.
        exclusive: entered for every access; whoever has entered it is alone, and may enter it again. What is kept
            within it is kept together or, when it is left by an exception, as far as the substrate can promise.

    Attributes:
        offers_apart_ms: the longest pause between two offers of a task; that of a deployment if None.
    """

    def __init__(self, clock: Clock | None, send: Send, exclusive: AbstractContextManager[Any]) -> None:
        self.clock: Clock = clock or ambient()
        super().__init__(send)
        self.offers_apart_ms: int | None = None
        self._exclusive = exclusive
        self._undelivered: deque[Change] = deque()
        self._outbox: deque[tuple[int | None, str, dict[str, Any]]] = deque()
        self._left: list[int] = []
        """Numbers of messages that have been sent; messages without a number are not kept anywhere."""
        self._outlets = _InProcess(self)
        self._waking: Key = ("promise", "")

    @property
    def embedded(self) -> EmbeddedStore:
        """This store: it is in this process."""
        return self

    # What a substrate provides; each is called by somebody who has entered `exclusive`, if not said otherwise.

    @abstractmethod
    def clear(self) -> None:
        """Forget all records, schedules and messages. Called from anywhere."""

    @abstractmethod
    def record(self, id: str) -> Record | None:
        """The record as it is stored. Called from anywhere."""

    @abstractmethod
    def records(self) -> list[Record]:
        """All promise records, by id. Called from anywhere."""

    @abstractmethod
    def next_wake_at(self) -> int | None:
        """The earliest instant (milliseconds) at which `tick` has something to do. Called from anywhere."""

    @abstractmethod
    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""

    @abstractmethod
    def open(self) -> Store:
        """This store for the duration of one invocation."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the store holds."""

    @abstractmethod
    def _fetch(self, need: Need) -> Any:
        """The answer to one need of a transition."""

    @abstractmethod
    def _keep(self, change: Change) -> None:
        """Store the new image of an entry, or its deletion."""

    @abstractmethod
    def _arm(self, key: Key, at: int, /) -> bool:
        """Take note of a changed `wake_at`, and say whether nothing is due earlier."""

    @abstractmethod
    def _first_due(self, now: int) -> Key | None:
        """Take the entry that is due first, ties by kind and id; None when nothing is due yet."""

    @abstractmethod
    def _children_of(self, id: str) -> Sequence[Record]:
        """The direct children of a promise, in any order."""

    def apply(self, request: Request) -> Response:
        """Carry out one request and all its effects.

        A heartbeat of many tasks is carried out in parts: one lease does not depend on another.
        """
        if isinstance(request, TaskHeartbeat) and len(request.tasks) > MAX_EXTENDED:
            if problem := problem_with(request):
                return Response(status=400, error=problem)
            for start in range(0, len(request.tasks), MAX_EXTENDED):
                self.apply(TaskHeartbeat(request.pid, request.tasks[start : start + MAX_EXTENDED]))
            return Response()
        with self._exclusive:
            response = perform(request, self._run)
            self._deliver()
        if self._outbox:  # most requests, every step among them, send nothing
            self._flush()
        return response

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        """Carry out one request, but leave its effects to the caller."""
        with self._exclusive:
            response = perform(request, self._run)
            changes = list(self._undelivered)
            self._undelivered.clear()
        return response, changes

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        with self._exclusive:
            now = self.clock.now()
            return [
                record.promise()
                for record in self._children_of(id)
                if record.id[len(id)] == separator and (not record.pending or record.timeout_at > now)
            ]

    def tick(self) -> int:
        """Do everything that is due now, the earliest first.

        Returns:
            The number of entries that were woken.
        """
        woken = 0
        while True:
            try:
                batch = self._wake()
            except DamagedRecord as error:
                # It would stay the first that is due, and no other would be woken.
                logger.error("%s; it is not read again until a request names it", error)
                with self._exclusive:
                    self._set_aside(self._waking)
                continue
            if not batch:
                break
            woken += batch
        self._flush()
        return woken

    def _set_aside(self, key: Key) -> None:
        """Stop waking an entry that cannot be read. The caller has entered `exclusive`."""
        raise NotImplementedError(f"{key} cannot be set aside")

    def _wake(self) -> int:
        with self._exclusive:
            for woken in range(BATCH):
                key = self._first_due(self.clock.now())
                if key is None:
                    return woken
                self._waking = key
                kind, id = key
                perform(PromiseWake(id, self.offers_apart_ms) if kind == "promise" else ScheduleFire(id), self._run)
                self._undelivered = deque(map(repeated, self._undelivered))
                self._deliver()
        return BATCH

    def _run(self, request: Request) -> Response:
        outcome = self._decide(request)
        for change in outcome.changes:
            self._keep(change)
            before, after = change
            if isinstance(after, Record) and after.wake_at is None and (before is None or before.wake_at is None):
                continue  # nothing is due on it and nothing was, so nothing follows from the write
            if after is not None and after.wake_at is not None and (before is None or before.wake_at != after.wake_at):
                nearer = self._arm(key_of(after), after.wake_at)
                if nearer and self._on_wake is not None:
                    self._on_wake(after.wake_at)
            self._undelivered.append(change)
        return outcome.response

    def _decide(self, request: Request) -> Outcome:
        return decide(request, self.clock.now(), self._fetch)

    def _deliver(self) -> None:
        while self._undelivered:
            change = self._undelivered.popleft()
            after = change.after
            if isinstance(after, Record) and after.owes and not (after.callbacks or after.listeners):
                # Nobody waits; it is owed only to retention, and what lives here is not cleaned up.
                self._keep(Change(after, with_all_told(after, self.clock.now())))
            else:
                deliver(change, self._outlets)

    def _post(self, address: str, message: dict[str, Any]) -> None:
        """Have a message sent once the lock is free."""
        self._outbox.append((None, address, message))

    def _flush(self) -> None:
        while True:
            with self._exclusive:
                if not self._outbox:
                    return
                number, address, message = self._outbox.popleft()
            self._send(address, message)
            if number is not None:
                with self._exclusive:
                    self._left.append(number)


class Unarmed:
    """The part of the effects' surroundings that is empty when everything is in one process.

    Timers and schedules need no arming: `wake_at` is the timer. Nothing is retained: such a store is not cleaned up.
    """

    def arm(self, id: str, at: int) -> None:
        pass

    def disarm(self, id: str) -> None:
        pass

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        pass

    def fire_schedule(self, id: str, at: int) -> None:
        pass

    def disarm_schedule(self, id: str) -> None:
        pass

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        pass


class _InProcess(Unarmed):
    """The effects' surroundings when everything is in one process."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def apply(self, request: Request) -> Response:
        # What effects ask for is one operation on ids that are stored already: nothing to check or to take apart.
        return self._store._run(request)  # pyright: ignore[reportPrivateUsage]

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._store._post(address, message)  # pyright: ignore[reportPrivateUsage]

    def notify(self, address: str, promise: PromiseView) -> None:
        self.send(address, message_of(Unblock(address, whole(promise, self))))
