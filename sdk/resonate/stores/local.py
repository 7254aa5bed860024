"""The store in memory with the low-level interface of the seeds (REFERENCE 4.3, 4.4, 5.9).

`LocalStore` is a `MemoryStore`: the same records and the same state machine. What it adds speaks the seeds' language to
people and tests that use a store by hand: upper-case states, `resonate:invoke` for `resonate:target`, tasks that are
claimed and completed with a counter. These names exist here and nowhere else; the records hold the protocol's.

A task has one life in the records, and several in that language: `__invoke:p` is the task of the promise `p` until it
is first completed, `__resume:p:q` the same one after `q` has resumed it. The counter is the version that a claim gets.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from msgspec import Struct, to_builtins

from resonate.arguments import require, within_time
from resonate.encoders import Base64Encoder, Encoder
from resonate.errors import ResonateStoreError
from resonate.idempotency import CREATE_KEY, already_exists, create_key
from resonate.message_sources.local import LocalMessageSource, Message
from resonate.promises import Callback, DurablePromise, Promises, accepted, check_creation, payload
from resonate.stores.local_schedules import LocalSchedules
from resonate.stores.names import address_of, legacy_tags, protocol_tags
from resonate_store.clock import Clock
from resonate_store.memory import MemoryStore
from resonate_store.records import TARGET, Promise, TaskRecord
from resonate_store.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    TaskAcquire,
    TaskCreate,
    TaskGet,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
    TaskSuspendRegistered,
)


class Claim(Struct, frozen=True):
    """What a task of the seeds stands for: the promise whose task it is, and the one that has resumed it."""

    root: str
    leaf: str | None = None


class LocalStore(MemoryStore):
    """Promises, tasks and schedules that live and end with this process.

    Args:
        encoder: how the seeds' store kept text; payloads here are base64 as on the wire, whatever is given.
        clock: the source of time.
    """

    def __init__(self, encoder: Encoder[str | None, str | None] | None = None, clock: Clock | None = None) -> None:
        super().__init__(clock, self._to_sources)
        self.on_wake = self._nudge_sources
        self._encoder = encoder or Base64Encoder()
        self._sources: list[LocalMessageSource] = []
        self.claims: dict[str, Claim] = {}
        """The tasks that have been offered, by their id in the seeds' language."""
        self._promises = LocalPromises(self)
        self._tasks = LocalTasks(self)
        self._schedule_store = LocalSchedules(self)

    @property
    def encoder(self) -> Encoder[str | None, str | None]:
        """What it was given."""
        return self._encoder

    @property
    def promises(self) -> LocalPromises:
        """Promises by hand."""
        return self._promises

    @property
    def tasks(self) -> LocalTasks:
        """Tasks by hand."""
        return self._tasks

    @property
    def schedules(self) -> LocalSchedules:
        """Schedules by hand."""
        return self._schedule_store

    def transaction(self) -> AbstractContextManager[Any]:
        """Lets nobody else in while its block runs, which may make several requests."""
        return self._exclusive

    def message_source(self, group: str, id: str) -> LocalMessageSource:
        """The messages for one process of a worker group."""
        source = LocalMessageSource(self, group, id)
        self.connect(source)
        return source

    def connect(self, source: LocalMessageSource) -> None:
        """Send messages to a source, too."""
        if source not in self._sources:
            self._sources.append(source)

    def disconnect(self, source: LocalMessageSource) -> None:
        """Send nothing more to a source."""
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
        self.claims[name] = Claim(id, leaf)
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


class LocalTask(Struct):
    """A task that was offered or claimed."""

    id: str
    counter: int
    store: LocalStore

    def claim(self, pid: str, ttl: int) -> tuple[DurablePromise, DurablePromise | None]:
        """See `LocalTasks.claim`."""
        return self.store.tasks.claim(self.id, self.counter, pid, ttl)

    def complete(self) -> None:
        """See `LocalTasks.complete`."""
        self.store.tasks.complete(self.id, self.counter)


class LocalPromises(Promises):
    """Promises of a `LocalStore`, with the seeds' tags."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self._local = store

    def kept(self, tags: dict[str, str] | None, ikey: str | None) -> dict[str, str]:
        stored = protocol_tags(tags or {})
        if TARGET in stored:
            stored[TARGET] = address_of(stored[TARGET])
        return super().kept(stored, ikey)

    def shown(self, promise: Promise) -> DurablePromise:
        found = super().shown(promise)
        found.tags = legacy_tags({tag: text for tag, text in promise.tags.items() if tag != CREATE_KEY})
        found.store = self._local
        return found

    def create_with_task(
        self,
        id: str,
        timeout: int,
        pid: str,
        ttl: int,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> tuple[DurablePromise, LocalTask | None]:
        """Create a promise together with its task, claimed by `pid`, or find the promise.

        Args:
            ttl: how long the claim holds without a heartbeat, in milliseconds.

        Returns:
            The promise; and the task if this call has created the promise and it has a receiver (`resonate:invoke`).

        Raises:
            ResonateStoreError: see `create`.
        """
        check_creation(id, timeout, ikey, tags)
        require("pid", pid, str)
        require("ttl", ttl, int, "in milliseconds")
        if TARGET not in self.kept(tags, ikey):
            return self.create(id, timeout, ikey=ikey, strict=strict, headers=headers, data=data, tags=tags), None
        request = PromiseCreate(id, within_time(timeout), payload(headers, data), self.kept(tags, ikey))
        store = self._local
        with store.transaction():
            existing = store.apply(PromiseGet(id)).promise
            if existing is None:
                response = store.apply(TaskCreate(pid, within_time(ttl), request))
                promise, task = self.shown(accepted(response, id)), response.task
                if task is None or task.state != "acquired":  # its time was up before it was created
                    return promise, None
                name = f"__invoke:{id}"
                store.claims[name] = Claim(id)
                return promise, LocalTask(name, task.version, store)
        if ikey is None or create_key(existing) != ikey or (strict and not existing.pending):
            raise already_exists(id)
        return self.shown(existing), None

    def callback(
        self,
        promise_id: str,
        root_promise_id: str,
        recv: str,  # noqa: ARG002
        timeout: int,
    ) -> tuple[DurablePromise, Callback | None]:
        """Have the task of `root_promise_id` resumed, at its own receiver, when `promise_id` settles.

        Returns:
            The promise; and the callback, unless the promise is settled or the callback exists.

        Raises:
            ResonateStoreError: there is no such promise (100.404), or the root has no task to resume (100.422).
        """
        require("promise_id", promise_id, str)
        require("root_promise_id", root_promise_id, str)
        store = self._local
        with store.transaction():
            promise = accepted(store.apply(PromiseGet(promise_id)), promise_id)
            before = store.record(promise_id)
            if not promise.pending:
                return self.shown(promise), None
            accepted(store.apply(PromiseRegisterCallback(promise_id, root_promise_id)), promise_id)
            if store.record(promise_id) is before:
                return self.shown(promise), None
        id = f"__resume:{root_promise_id}:{promise_id}"
        return self.shown(promise), Callback(id, promise_id, timeout, store.clock.now())

    def subscribe(self, id: str, promise_id: str, recv: str, timeout: int) -> tuple[DurablePromise, Callback | None]:
        """Have the promise sent to `recv` when it settles.

        Returns:
            The promise; and the subscription, unless the promise is settled or `recv` has one.

        Raises:
            ResonateStoreError: there is no such promise (100.404), or `recv` is no address (100.400).
        """
        require("promise_id", promise_id, str)
        require("recv", recv, str)
        store = self._local
        with store.transaction():
            promise = accepted(store.apply(PromiseGet(promise_id)), promise_id)
            before = store.record(promise_id)
            if not promise.pending:
                return self.shown(promise), None
            accepted(store.apply(PromiseRegisterListener(promise_id, address_of(recv))), promise_id)
            if store.record(promise_id) is before:
                return self.shown(promise), None
        return self.shown(promise), Callback(f"__notify:{promise_id}:{id}", promise_id, timeout, store.clock.now())


class LocalTasks:
    """Tasks of a `LocalStore`.

    Args:
        store: where they are.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def claim(self, id: str, counter: int, pid: str, ttl: int) -> tuple[DurablePromise, DurablePromise | None]:
        """Take a task that was offered.

        Args:
            id, counter: as the message gives them.
            pid: who takes it.
            ttl: how long the claim holds without a heartbeat, in milliseconds.

        Returns:
            The promise whose task it is; and the promise that has resumed it, if one has.

        Raises:
            ResonateStoreError: there is no such task (100.40403), somebody has claimed it (100.40306), it is completed
                (100.40307), or the counter is another (100.40308).
        """
        claim, store = self._find(id), self._store
        with store.transaction():
            response = store.apply(TaskAcquire(claim.root, counter - 1, pid, within_time(ttl)))
            if response.promise is None:
                raise self._conflict(id, claim.root, counter, claiming=True)
            leaf = None if claim.leaf is None else store.apply(PromiseGet(claim.leaf)).promise
        promises = store.promises
        return promises.shown(response.promise), None if leaf is None else promises.shown(leaf)

    def complete(self, id: str, counter: int) -> bool:
        """Let go of a claimed task: it comes back when a promise it has a callback on settles.

        Returns:
            True, also if it was completed before.

        Raises:
            ResonateStoreError: there is no such task (100.40403), the counter is another (100.40308), or it is not
                claimed (100.40309).
        """
        claim, store = self._find(id), self._store
        with store.transaction():
            task = self._task(claim.root, id)
            if task.state == "fulfilled" or (task.state == "suspended" and task.version == counter):
                return True
            response = store.apply(TaskSuspendRegistered(claim.root, counter))
            if response.status == 300:  # what it waits for has settled meanwhile: it is offered again at once
                response = store.apply(TaskRelease(claim.root, counter, handover=True))
            if not response.ok:
                raise self._conflict(id, claim.root, counter, claiming=False)
        return True

    def heartbeat(self, pid: str) -> int:
        """Extend all claims of a process by their ttl, and return how many there are."""
        store = self._store
        with store.transaction():
            tasks = tuple(
                TaskReference(record.id, record.task.version)
                for record in store.records()
                if record.task is not None and record.task.state == "acquired" and record.task.pid == pid
            )
            store.apply(TaskHeartbeat(pid, tasks))
        return len(tasks)

    def _find(self, id: str) -> Claim:
        require("id", id, str)
        claim = self._store.claims.get(id)
        if claim is None:
            claim = Claim(id.removeprefix("__invoke:"))
        return claim

    def _task(self, root: str, id: str) -> TaskRecord:
        self._store.apply(TaskGet(root))  # whose time is up is fulfilled by that
        record = self._store.record(root)
        if record is None or record.task is None:
            raise ResonateStoreError("The specified task was not found", 40403, {"id": id})
        return record.task

    def _conflict(self, id: str, root: str, counter: int, *, claiming: bool) -> ResonateStoreError:
        task = self._task(root, id)
        current = task.version + (task.state == "pending")
        if claiming and task.state == "acquired" and task.version == counter:
            return ResonateStoreError("The task is already claimed", 40306, {"id": id})
        if claiming and task.state in ("suspended", "fulfilled"):
            return ResonateStoreError("The task is already completed", 40307, {"id": id})
        if current != counter:
            return ResonateStoreError("The task counter is invalid", 40308, {"id": id, "counter": current})
        return ResonateStoreError(f"The task is {task.state}", 40309, {"id": id})
