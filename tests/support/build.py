"""Requests in one line, and the states that most tests begin with.

Every test's clock starts at `T0`. Promises time out a day later unless they say otherwise, so that nothing falls due by
accident.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resonate_store.model.ids import message_id
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import STANDING, SettledState, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate
from resonate_store.model.tags import DELAY, EXTERNAL, SCOPE, TARGET, TIMER
from tests.support.substrates import T0, World

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WORKERS = "poll://any@workers"
LISTENER = "poll://uni@client/c1"
TTL = 5 * MINUTE

TARGETED = {TARGET: WORKERS}
TIMED = {TIMER: "true"}
OUTSIDE = {EXTERNAL: "true"}
LOCAL = {SCOPE: "local"}


def delayed(until: int) -> dict[str, str]:
    """The tags of a task that is not offered before the instant `until`."""
    return {**TARGETED, DELAY: str(until)}


def value(data: str) -> Value:
    return Value(headers={"content-type": "text"}, data=data)


def get(id: str) -> PromiseGet:
    return PromiseGet(id)


def create(id: str, tags: dict[str, str] | None = None, *, at: int = T0 + DAY, param: str = "") -> PromiseCreate:
    """Create a promise that times out at the instant `at`."""
    return PromiseCreate(id, at, value(param), tags or {})


def settle(id: str, state: SettledState = "resolved", data: str = "done") -> PromiseSettle:
    return PromiseSettle(id, state, value(data))


def recorded(
    id: str, state: SettledState = "resolved", data: str = "done", *, at: int = T0 + DAY, began: int = T0
) -> PromiseRecord:
    return PromiseRecord(id, at, began, state, value(data), value("param"), LOCAL)


def callback(awaited: str, awaiter: str) -> PromiseRegisterCallback:
    return PromiseRegisterCallback(awaited, awaiter)


def registered(*awaiters: str, version: int = 1) -> dict[str, int]:
    """The callbacks of a promise that these tasks, made at `T0`, have registered for explicitly."""
    return dict.fromkeys(awaiters, version) | {STANDING + id: T0 for id in awaiters}


def listen(awaited: str, address: str = LISTENER) -> PromiseRegisterListener:
    return PromiseRegisterListener(awaited, address)


def create_task(id: str, tags: dict[str, str] | None = None, *, at: int = T0 + DAY, ttl: int = TTL) -> TaskCreate:
    return TaskCreate("p1", ttl, create(id, TARGETED if tags is None else tags, at=at))


def acquire(id: str, version: int = 0, *, pid: str = "p1", ttl: int = TTL) -> TaskAcquire:
    return TaskAcquire(id, version, pid, ttl)


def release(id: str, version: int = 1, *, handover: bool = False, error: str | None = None) -> TaskRelease:
    return TaskRelease(id, version, handover, error)


def fulfill(id: str, version: int = 1, state: SettledState = "resolved", data: str = "done") -> TaskFulfill:
    return TaskFulfill(id, version, settle(id, state, data))


def suspend(id: str, *awaited: str, version: int = 1, cancel_seen: bool | None = None) -> TaskSuspend:
    return TaskSuspend(id, version, awaited, cancel_seen)


def message(id: str, name: str = "m", key: str = "k", data: str = "hello") -> MessageSend:
    return MessageSend(id, name, key, value(data))


def receive(id: str, key: str = "k", name: str = "m", *, place: str = "", version: int = 1) -> TaskReceive:
    """Take the message with the idempotency key `key` for a command, `{id}.1` by default."""
    return TaskReceive(id, version, message_id(id, key), name, place or f"{id}.1")


def publish(id: str, key: str = "progress", data: str = "half", *, place: str = "", version: int = 1) -> TaskPublish:
    return TaskPublish(id, version, place or f"{id}.1", key, T0 + DAY, value(data), LOCAL)


def fence(id: str, action: PromiseCreate | PromiseSettle, version: int = 1) -> TaskFence:
    return TaskFence(id, version, action)


def heartbeat(*tasks: tuple[str, int], pid: str = "p1") -> TaskHeartbeat:
    return TaskHeartbeat(pid, tuple(TaskReference(id, version) for id, version in tasks))


def schedule(
    id: str,
    cron: str = "* * * * *",
    *,
    promise_id: str = "{{.id}}.{{.timestamp}}",
    timeout: int = HOUR,
    tags: dict[str, str] | None = None,
) -> ScheduleCreate:
    return ScheduleCreate(id, cron, promise_id, timeout, value("input"), TARGETED if tags is None else tags)


def execute(id: str, version: int, address: str = WORKERS) -> tuple[str, dict[str, Any]]:
    """The message that offers a task, with its address."""
    return address, {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": version}}}


def held(store: World, id: str, *, at: int = T0 + DAY, ttl: int = TTL) -> None:
    """A task that `p1` holds at version 1; what was sent on the way is forgotten."""
    assert store.apply(create_task(id, at=at, ttl=ttl)).ok
    store.sent.clear()


def suspended(store: World, id: str, *awaited: str, at: int = T0 + DAY) -> None:
    """A task suspended at version 1 on promises that are made here where they do not exist yet."""
    held(store, id, at=at)
    for other in awaited:
        assert store.apply(create(other, OUTSIDE)).ok
    assert store.apply(suspend(id, *awaited)).ok
    store.sent.clear()


def crash(store: World, id: str, *, between: Callable[[], object] = lambda: None) -> None:
    """Acquire the task and let its lease run out, doing `between` while it is held."""
    version = store.task(id).version
    assert store.apply(acquire(id, version, ttl=10 * SECOND)).ok
    store.clock.advance(SECOND)
    between()
    store.pass_time(9 * SECOND)
