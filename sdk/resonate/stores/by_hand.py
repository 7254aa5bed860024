"""Promises and tasks of a store, with the interface of SDK 0.6.7 (docs/protocol.md 4.3, 4.4).

These classes translate for programs that use a store directly: states are in upper case, `resonate:invoke` means
`resonate:target`, and tasks are claimed and completed with a counter. The records hold the protocol's names.

In the records a promise has one task; in SDK 0.6.7 it can have several. `__invoke:p` is the task of the promise `p`
until it is first completed. `__resume:p:q` is the same task after `q` has resumed it. The counter is the version that a
claim gives the task.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from resonate.errors import ResonateStoreError, refusal
from resonate.idempotency import already_exists, create_key
from resonate.promises import Callback, DurablePromise, Promises, accepted, check_creation, payload
from resonate.stores.local_schedules import StoreOfSchedules
from resonate.stores.names import address_of, legacy_tags, protocol_tags
from resonate.validation import require, within_time
from resonate_store.model.clock import Clock
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskGet,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
)
from resonate_store.model.tags import IDEMPOTENCY_KEY, TARGET


class TaskClaim(Struct, frozen=True):
    """The promises of a task of SDK 0.6.7: whose task it is (`root`), and what has resumed it (`leaf`)."""

    root: str
    leaf: str | None = None


class StoreByHand(StoreOfSchedules, Protocol):
    """Protocol of a store whose promises and tasks can be used directly.

    Attributes:
        clock: the source of time.
        claims: the tasks that have been offered or claimed, by their ids in SDK 0.6.7.
    """

    clock: Clock
    claims: dict[str, TaskClaim]

    @property
    def promises(self) -> LocalPromises: ...

    @property
    def tasks(self) -> LocalTasks: ...

    def catch_up(self) -> None:
        """Carry out what is due, such as the end of leases, if no other thread does."""
        ...

    def register(self, request: PromiseRegisterCallback | PromiseRegisterListener) -> tuple[Response, bool]:
        """Register a callback or a listener, and return whether it is new."""
        ...

    def suspend(self, id: str, version: int) -> Response:
        """Suspend a claimed task on the promises that it has callbacks on."""
        ...

    def claimed_by(self, pid: str) -> tuple[TaskReference, ...]:
        """Return the tasks that a process has claimed."""
        ...


class LocalTask(Struct):
    """A task that was offered or claimed."""

    id: str
    counter: int
    store: StoreByHand

    def claim(self, pid: str, ttl: int) -> tuple[DurablePromise, DurablePromise | None]:
        """Claim it; see `LocalTasks.claim`."""
        return self.store.tasks.claim(self.id, self.counter, pid, ttl)

    def complete(self) -> None:
        """Complete it; see `LocalTasks.complete`."""
        self.store.tasks.complete(self.id, self.counter)


class LocalPromises(Promises):
    """Promises of a store, with the tags of SDK 0.6.7.

    Args:
        store: the store.
    """

    def __init__(self, store: StoreByHand) -> None:
        super().__init__(store)
        self._by_hand = store

    def kept(self, tags: dict[str, str] | None, ikey: str | None) -> dict[str, str]:
        return super().kept(protocol_tags(tags or {}), ikey)

    def shown(self, promise: PromiseView) -> DurablePromise:
        found = super().shown(promise)
        found.tags = legacy_tags({tag: text for tag, text in promise.tags.items() if tag != IDEMPOTENCY_KEY})
        found.store = self._by_hand
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
        """Create a promise and its task, which `pid` claims; or return the existing promise.

        Args:
            id, timeout, ikey, strict, headers, data, tags: see `Promises.create`.
            pid: the process that claims the task.
            ttl: how long the claim holds without a heartbeat, in milliseconds.

        Returns:
            The promise, and its task. The task is None unless this call has created the promise, with a receiver
            (`resonate:invoke`) and a deadline that has not passed.

        Raises:
            ResonateStoreError: see `Promises.create`.
        """
        check_creation(id, timeout, ikey, tags)
        require("pid", pid, str)
        require("ttl", ttl, int, "in milliseconds")
        if TARGET not in self.kept(tags, ikey):
            return self.create(id, timeout, ikey=ikey, strict=strict, headers=headers, data=data, tags=tags), None
        request = PromiseCreate(id, within_time(timeout), payload(headers, data), self.kept(tags, ikey))
        store = self._by_hand
        with store.transaction():
            existing = store.apply(PromiseGet(id)).promise
            if existing is None:
                response = store.apply(TaskCreate(pid, _lease(ttl), request))
                if response.status != 409:
                    promise, task = self.shown(accepted(response, id)), response.task
                    if task is None or task.state != "acquired":  # the deadline had passed before the creation
                        return promise, None
                    name = f"__invoke:{id}"
                    store.claims[name] = TaskClaim(id)
                    return promise, LocalTask(name, task.version, store)
                existing = accepted(store.apply(PromiseGet(id)), id)  # another process has created it meanwhile
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
        """Resume the task of `root_promise_id`, at its own receiver, when `promise_id` settles.

        Args:
            promise_id: the promise to wait for.
            root_promise_id: the promise whose task is resumed.
            recv: has no effect.
            timeout: becomes the `timeout` of the callback, and has no other effect.

        Returns:
            The promise, and the callback. The callback is None if the promise is settled or the callback exists.

        Raises:
            ResonateStoreError: the promise does not exist (100.40400), or the root has no task to resume (100.42200).
        """
        require("promise_id", promise_id, str)
        require("root_promise_id", root_promise_id, str)
        promise, new = self._register(PromiseRegisterCallback(promise_id, root_promise_id))
        if not new:
            return promise, None
        id = f"__resume:{root_promise_id}:{promise_id}"
        self._by_hand.claims[id] = TaskClaim(root_promise_id, promise_id)
        return promise, Callback(id, promise_id, timeout, self._by_hand.clock.now())

    def subscribe(self, id: str, promise_id: str, recv: str, timeout: int) -> tuple[DurablePromise, Callback | None]:
        """Send a promise to an address when it settles.

        Args:
            id: names the subscription, in the id of the `Callback` that is returned.
            promise_id: the promise.
            recv: the address.
            timeout: becomes the `timeout` of the subscription, and has no other effect.

        Returns:
            The promise, and the subscription. The subscription is None if the promise is settled or `recv` has one.

        Raises:
            ResonateStoreError: the promise does not exist (100.40400), or `recv` is not an address (100.40000).
        """
        require("promise_id", promise_id, str)
        require("recv", recv, str)
        promise, new = self._register(PromiseRegisterListener(promise_id, address_of(recv)))
        if not new:
            return promise, None
        return promise, Callback(f"__notify:{promise_id}:{id}", promise_id, timeout, self._by_hand.clock.now())

    def _register(self, request: PromiseRegisterCallback | PromiseRegisterListener) -> tuple[DurablePromise, bool]:
        """Register a callback or a listener on a pending promise, and return whether it is new."""
        store, id = self._by_hand, request.awaited
        with store.transaction():
            promise, new = accepted(store.apply(PromiseGet(id)), id), False
            if promise.pending:
                response, new = store.register(request)
                promise = accepted(response, id)
        return self.shown(promise), new


class LocalTasks:
    """Tasks of a store.

    Args:
        store: the store.
    """

    def __init__(self, store: StoreByHand) -> None:
        self._store = store

    def claim(self, id: str, counter: int, pid: str, ttl: int) -> tuple[DurablePromise, DurablePromise | None]:
        """Claim a task that was offered.

        Args:
            id, counter: as in the message.
            pid: the process that claims it.
            ttl: how long the claim holds without a heartbeat, in milliseconds; 0 counts as 1.

        Returns:
            The promise whose task it is, and the promise that has resumed it, or None.

        Raises:
            ResonateStoreError: the task does not exist (100.40403), it is claimed (100.40306), it is completed
                (100.40307), or the counter is another (100.40308).
        """
        claim, store = self._find(id), self._store
        store.catch_up()
        with store.transaction():
            response = store.apply(TaskAcquire(claim.root, counter - 1, pid, _lease(ttl)))
            if response.status == 400:
                raise refusal(400, response.error, {"id": id})
            if response.promise is None:
                raise self._conflict(id, claim.root, counter, claiming=True)
            leaf = None if claim.leaf is None else store.apply(PromiseGet(claim.leaf)).promise
        promises = store.promises
        return promises.shown(response.promise), None if leaf is None else promises.shown(leaf)

    def complete(self, id: str, counter: int) -> bool:
        """Suspend a claimed task until a promise settles that it has a callback on.

        Args:
            id, counter: as in the message, or of the `LocalTask`.

        Returns:
            True, also if it was completed before.

        Raises:
            ResonateStoreError: the task does not exist (100.40403), the counter is another (100.40308), or the task is
                not claimed (100.40309). A server also refuses a task without callbacks (100.40000).
        """
        claim, store = self._find(id), self._store
        store.catch_up()
        with store.transaction():
            task = self._task(claim.root, id)
            if task.state == "fulfilled" or (task.state == "suspended" and task.version == counter):
                return True
            response = store.suspend(claim.root, counter)
            if response.status == 300:  # an awaited promise has settled meanwhile: the task is offered again at once
                response = store.apply(TaskRelease(claim.root, counter, handover=True))
            if response.status == 400 and (task.state, task.version) == ("acquired", counter):
                raise refusal(400, response.error, {"id": id})
            if not response.ok:
                raise self._conflict(id, claim.root, counter, claiming=False)
        return True

    def heartbeat(self, pid: str) -> int:
        """Extend all claims of the process `pid` by their ttl, and return how many there are."""
        store = self._store
        with store.transaction():
            tasks = store.claimed_by(pid)
            if tasks:
                store.apply(TaskHeartbeat(pid, tasks))
        return len(tasks)

    def _find(self, id: str) -> TaskClaim:
        require("id", id, str)
        claim = self._store.claims.get(id)
        if claim is None:
            claim = TaskClaim(id.removeprefix("__invoke:"))
        return claim

    def _task(self, root: str, id: str) -> Task:
        task = self._store.apply(TaskGet(root)).task
        if task is None:
            raise ResonateStoreError("The specified task was not found", 40403, {"id": id})
        return task

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


def _lease(ttl_ms: int) -> int:
    """Return the duration as a lease. The protocol's shortest lease is 1 ms."""
    return within_time(ttl_ms) if ttl_ms else 1
