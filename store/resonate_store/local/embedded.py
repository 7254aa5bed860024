"""Base of the stores in one process: requests, effects, wake-ups and messages.

A subclass reads and writes records under one lock. Everything else is here. Effects are carried out in the process,
together with the write that they follow from. The store has no thread: its owner calls `tick`, which does what is due,
when `next_wake_at` has come. The store sends messages to its one subscriber outside the lock, because a receiver may
call the store at once.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident
from typing import Any, Final, Literal

from resonate_store.delivery.outlets import deliver
from resonate_store.interface import DamagedRecord, Send, Store, whole
from resonate_store.local.turns import Turns
from resonate_store.machine import Outcome, decide, perform, with_all_told
from resonate_store.machine.draft import Need
from resonate_store.machine.effects import Change, Prune, Unblock, message_of, repeated
from resonate_store.machine.executions import problem_with_deletion, tree_of
from resonate_store.machine.generations import outdated
from resonate_store.machine.validation import problem_with
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.records import Key, PromiseView, Record, key_of
from resonate_store.model.requests import PromiseWake, Request, Response, TaskHeartbeat
from resonate_store.model.schedule_requests import ScheduleFire

BATCH: Final = 100
"""How many promises and schedules one tick handles before it releases the lock for other threads."""
MAX_EXTENDED: Final = 500
"""How many tasks of a heartbeat are extended before the lock is released for other threads."""

logger = logging.getLogger("resonate.store")


def unheard(address: str, message: dict[str, Any]) -> Literal[False]:  # noqa: ARG001
    """Drop the message, because the store has no subscriber.

    A lost execute message is sent again, and a client reads the promise if the unblock message is lost.
    """
    return False


class Subscribable:
    """A store that gives its messages and wake-ups to one subscriber.

    Args:
        send: gets the messages until a first subscriber replaces it.
    """

    def __init__(self, send: Send = unheard) -> None:
        self._send: Send = send
        self._on_wake: Callable[[int], None] | None = None

    @property
    def send(self) -> Send:
        """The function that gets the messages."""
        return self._send

    @property
    def on_wake(self) -> Callable[[int], None] | None:
        """The function that gets the instant (ms) of the next wake-up whenever it becomes earlier."""
        return self._on_wake

    def subscribe(self, *, send: Send | None = None, on_wake: Callable[[int], None] | None = None) -> Send:
        """Replace the present subscriber.

        Args:
            send: gets an address and a message. The store calls it outside its lock. It must not wait for the receiver.
                None keeps the present function.
            on_wake: gets the instant (ms) of the next wake-up whenever it becomes earlier. None keeps the present
                function.

        Returns:
            The function that got the messages before. A subscriber that handles only some messages passes the rest to
            it.
        """
        before = self._send
        self._send = send or before
        self._on_wake = on_wake or self._on_wake
        return before


class EmbeddedStore(Subscribable, Store, ABC):
    """Base class of the stores in this process.

    Args:
        clock: the source of time.
        send: gets an address and a message. The store calls it outside its lock. It must not wait for the receiver.
        exclusive: the lock, entered for each access. One thread may enter it several times. Writes within it are stored
            together. If an exception leaves it, the subclass decides what is stored.
        turns: entered before the lock for each request, if the lock is never held while its thread waits.

    Attributes:
        offers_apart_ms: the longest pause (ms) between two offers of a task. None means that of a deployment.
    """

    def __init__(
        self,
        clock: Clock | None,
        send: Send,
        exclusive: AbstractContextManager[Any],
        turns: Turns | None = None,
    ) -> None:
        self.clock: Clock = clock or ambient()
        super().__init__(send)
        self.offers_apart_ms: int | None = None
        self._exclusive = exclusive
        self._turns = turns
        self._undelivered: deque[Change] = deque()
        self._outbox: deque[tuple[int | None, str, dict[str, Any]]] = deque()
        self._left: list[int] = []
        """Numbers of stored messages that have been sent. A message without a number is not stored."""
        self._together = False
        """Whether the request is one of several that are stored together, so that its messages are sent later."""
        self._outlets = _InProcess(self)
        self._waking: Key = ("promise", "")

    @property
    def embedded(self) -> EmbeddedStore:
        """This store, because it is in this process."""
        return self

    @property
    def continues_at_once(self) -> bool:
        return True

    @property
    def takes_messages(self) -> bool:
        return True

    # What a subclass implements. The caller has entered `exclusive`, unless the docstring says otherwise.

    @abstractmethod
    def clear(self) -> None:
        """Delete all records, schedules and messages. The caller need not have entered `exclusive`."""

    @abstractmethod
    def record(self, id: str) -> Record | None:
        """Return the record `id` as it is stored, or None. The caller need not have entered `exclusive`."""

    @abstractmethod
    def records(self) -> list[Record]:
        """Return all promise records by id. The caller need not have entered `exclusive`."""

    @abstractmethod
    def next_wake_at(self) -> int | None:
        """Return the earliest instant (ms) at which `tick` has work. The caller need not have entered `exclusive`."""

    @abstractmethod
    def due(self, now: int) -> list[Key]:
        """Return the entries whose `wake_at` is not after `now`, the earliest first.

        They stay due until they are woken.
        """

    @abstractmethod
    def open(self) -> Store:
        """Return this store for one invocation."""

    @abstractmethod
    def close(self) -> None:
        """Release the resources of the store."""

    @abstractmethod
    def _fetch(self, need: Need) -> Any:
        """Return what a transition needs to read."""

    @abstractmethod
    def _keep(self, change: Change) -> None:
        """Store the new image of an entry, or delete the entry."""

    @abstractmethod
    def _drop(self, record: Record) -> None:
        """Delete a record."""

    @abstractmethod
    def _drop_children(self, family: str, records: Sequence[Record]) -> None:
        """Delete records with this `ids.family`, which are not roots of trees."""

    @abstractmethod
    def _arm(self, key: Key, at: int, /) -> bool:
        """Note the new `wake_at` of an entry. Return whether no other entry is due earlier."""

    @abstractmethod
    def _first_due(self, now: int) -> Key | None:
        """Return the entry that is due first, or None if none is due. Equal instants are ordered by kind and id."""

    @abstractmethod
    def _children_of(self, family: str) -> Sequence[Record]:
        """Return the records with this `ids.family` in any order: the direct children of a promise."""

    def apply(self, request: Request) -> Response:
        """Carry out one `request` and all its effects, and return the response, also one that refuses it.

        A heartbeat of many tasks is split, because the lease of one task does not depend on another.
        """
        if isinstance(request, TaskHeartbeat) and len(request.tasks) > MAX_EXTENDED:
            if problem := problem_with(request):
                return Response(status=400, error=problem)
            for start in range(0, len(request.tasks), MAX_EXTENDED):
                self.apply(TaskHeartbeat(request.pid, request.tasks[start : start + MAX_EXTENDED]))
            return Response()
        if isinstance(request, ExecutionDelete):
            return self._delete(request)
        turns, thread = self._turns, get_ident()
        if turns is not None:  # as `with turns`, which would be two more calls at every step
            if turns.thread and turns.thread != thread:
                turns.pause()
            turns.thread = thread
        try:
            with self._exclusive:
                response = perform(request, self._run)
                if self._undelivered:
                    self._deliver()
        finally:
            if turns is not None and turns.thread == thread:
                turns.thread = 0
        if self._outbox and not self._together:  # most requests, and all steps, send nothing
            self._flush()
        return response

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        """Carry out one `request`. Return its response and changes, whose effects the caller carries out."""
        with self._exclusive:
            response = perform(request, self._run)
            changes = list(self._undelivered)
            self._undelivered.clear()
        return response, changes

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        with self._exclusive:
            now = self.clock.now()
            family, begin = (id + separator if separator[-1] == "+" else id), len(id)
            return [
                record.promise()
                for record in self._children_of(family)
                if record.id.startswith(separator, begin) and (not record.pending or record.timeout_at > now)
            ]

    def delete_generations(self, prune: Prune) -> None:
        """Delete the generation of an execution before the present one, which `prune` names."""
        with self._exclusive:
            self._prune(prune)

    def _prune(self, prune: Prune) -> None:
        for family, records in outdated(prune.id, prune.generation, self.clock.now(), self._children_of):
            self._drop_children(family, records)

    def _delete(self, request: ExecutionDelete) -> Response:
        """Delete an execution that has ended, and everything below it (docs/rules.md E9)."""
        if problem := problem_with(request):
            return Response(status=400, error=problem)
        with self._turns or nullcontext(), self._exclusive:
            perform(PromiseWake(request.id), self._run)  # its deadline may have passed
            self._deliver()
            root = self.record(request.id)
            problem = problem_with_deletion(request.id, root)
            if root is None or problem is not None:
                return Response(status=404 if root is None else 409, error=problem)
            tree = tree_of(root, self._children_of, self.clock.now())
            if isinstance(tree, str):
                return Response(status=409, error=f"the task {tree!r} in the execution {request.id!r} is running")
            for record in tree:
                self._drop(record)
        self._flush()
        return Response(count=len(tree))

    def tick(self) -> int:
        """Do everything that is due now, the earliest first. Return on how many promises and schedules it did so."""
        woken = 0
        while True:
            try:
                batch = self._wake()
            except DamagedRecord as error:
                # It would stay the first entry that is due, so no other entry would be woken.
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
        """Remove the wake-up of an entry that cannot be read. The caller has entered `exclusive`."""
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
            before, after = change.before, change.after
            if type(after) is Record and after.wake_at is None and (before is None or before.wake_at is None):
                continue  # nothing is or was due, so the write has no effects
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
            if (
                type(after) is Record
                and after.state != "pending"
                and after.owes
                and not (after.callbacks or after.listeners)
            ):
                # Only a retention marker is missing, and records in a process are not deleted.
                self._keep(Change(after, with_all_told(after, self.clock.now())))
            else:
                deliver(change, self._outlets)

    def _post(self, address: str, message: dict[str, Any]) -> None:
        """Queue a message, which is sent when the lock is free."""
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
    """Outlets that do nothing, for a store in one process.

    Timers and schedules need no wake-up, because `wake_at` is one. Retention does not apply: all records are kept.
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
    """Outlets of a store in one process."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def apply(self, request: Request) -> Response:
        # Effects are single operations with ids that are stored already, so they need no validation.
        return self._store._run(request)  # pyright: ignore[reportPrivateUsage]

    def prune(self, outdated: Prune) -> None:
        self._store._prune(outdated)  # pyright: ignore[reportPrivateUsage]

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._store._post(address, message)  # pyright: ignore[reportPrivateUsage]

    def notify(self, address: str, promise: PromiseView) -> None:
        self.send(address, message_of(Unblock(address, whole(promise, self))))
