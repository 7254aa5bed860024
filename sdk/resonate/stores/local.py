"""Store in memory with the low-level interface of SDK 0.6.7 (docs/protocol.md 4).

`LocalStore` is a `MemoryStore`: the same records and the same state machine. It adds the interface in `by_hand`, and
the messages of that SDK.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from msgspec import to_builtins

from resonate.encoders import Base64Encoder, Encoder
from resonate.message_sources.local import LocalMessageSource, Message
from resonate.stores.by_hand import LocalPromises, LocalTask, LocalTasks, TaskClaim
from resonate.stores.local_schedules import LocalSchedule, LocalSchedules
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import Clock
from resonate_store.model.requests import (
    PromiseRegisterCallback,
    PromiseRegisterListener,
    Response,
    TaskReference,
    TaskSuspendRegistered,
)

__all__ = [
    "Claim",
    "LocalPromises",
    "LocalSchedule",
    "LocalSchedules",
    "LocalStore",
    "LocalTask",
    "LocalTasks",
    "TaskClaim",
]


Claim = TaskClaim
"""Former name of `TaskClaim` in this module."""


class LocalStore(MemoryStore):
    """Promises, tasks and schedules in this process's memory::

        store = LocalStore()
        promise = store.promises.create("p", timeout=sys.maxsize)
        promise.resolve(data='"done"')

    Args:
        encoder: accepted as in SDK 0.6.7, and without effect: payloads are stored as base64.
        clock: the source of time; by default the clock of the machine.
    """

    def __init__(self, encoder: Encoder[str | None, str | None] | None = None, clock: Clock | None = None) -> None:
        super().__init__(clock, self._to_sources)
        self.subscribe(on_wake=self._nudge_sources)
        self._encoder = encoder or Base64Encoder()
        self._sources: list[LocalMessageSource] = []
        self.claims: dict[str, TaskClaim] = {}
        """The tasks that have been offered, by their ids in SDK 0.6.7."""
        self._promises = LocalPromises(self)
        self._tasks = LocalTasks(self)
        self._schedule_store = LocalSchedules(self)

    @property
    def encoder(self) -> Encoder[str | None, str | None]:
        """The encoder that the constructor was given, or a `Base64Encoder`."""
        return self._encoder

    @property
    def promises(self) -> LocalPromises:
        """The promises of this store."""
        return self._promises

    @property
    def tasks(self) -> LocalTasks:
        """The tasks of this store."""
        return self._tasks

    @property
    def schedules(self) -> LocalSchedules:
        """The schedules of this store."""
        return self._schedule_store

    def catch_up(self) -> None:
        """Carry out what is due: without a `Resonate`, no thread does."""
        self.tick()

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a context manager that keeps other threads out while its block makes several requests."""
        return self._exclusive

    def register(self, request: PromiseRegisterCallback | PromiseRegisterListener) -> tuple[Response, bool]:
        """Carry out `request`, which registers a callback or a listener, and return whether it is new."""
        before = self.record(request.awaited)
        response = self.apply(request)
        return response, self.record(request.awaited) is not before

    def suspend(self, id: str, version: int) -> Response:
        """Suspend the claimed task `id` on the promises that it has callbacks on. `version` is that of its claim."""
        return self.apply(TaskSuspendRegistered(id, version))

    def claimed_by(self, pid: str) -> tuple[TaskReference, ...]:
        """Return the tasks that the process `pid` has claimed."""
        return tuple(
            TaskReference(record.id, record.task.version)
            for record in self.records()
            if record.task is not None and record.task.state == "acquired" and record.task.pid == pid
        )

    def message_source(self, group: str, id: str) -> LocalMessageSource:
        """Return a connected source of the messages for one process of a worker group.

        Args:
            group: the worker group.
            id: the process in the group.
        """
        source = LocalMessageSource(self, group, id)
        self.connect(source)
        return source

    def connect(self, source: LocalMessageSource) -> None:
        """Deliver messages to `source` too."""
        if source not in self._sources:
            self._sources.append(source)

    def disconnect(self, source: LocalMessageSource) -> None:
        """Deliver no more messages to `source`."""
        if source in self._sources:
            self._sources.remove(source)

    def _nudge_sources(self, _at: int) -> None:
        for source in self._sources:
            source.nudge()

    def _to_sources(self, address: str, message: dict[str, Any]) -> bool:
        source = next((source for source in self._sources if source.takes(address)), None)
        if source is None:
            return False
        source.enqueue(self._notice(message) if message["kind"] == "unblock" else self._offer(message))
        return True

    def _offer(self, message: dict[str, Any]) -> Message:
        id, version = message["data"]["task"]["id"], message["data"]["task"]["version"]
        record = self.record(id)
        resumes = record.task.resumes if record is not None and record.task is not None else ()
        kind, name, leaf = (
            ("resume", f"__resume:{id}:{resumes[0]}", resumes[0]) if resumes else ("invoke", f"__invoke:{id}", None)
        )
        self.claims[name] = TaskClaim(id, leaf)
        return {"type": kind, "task": {"id": name, "counter": version + 1}}

    def _notice(self, message: dict[str, Any]) -> Message:
        stored = self.record(message["data"]["promise"]["id"])
        assert stored is not None
        promise = self._promises.shown(stored.promise())
        return {
            "type": "notify",
            "promise": {
                "id": promise.id,
                "state": promise.state,
                "timeout": promise.timeout,
                "idempotencyKeyForCreate": promise.ikey_for_create,
                "idempotencyKeyForComplete": promise.ikey_for_complete,
                "param": to_builtins(stored.param),
                "value": to_builtins(stored.value),
                "tags": promise.tags,
                "createdOn": promise.created_on,
                "completedOn": promise.completed_on,
            },
        }
