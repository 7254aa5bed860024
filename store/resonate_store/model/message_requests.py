"""Requests about the inbox and the published state of an execution, and about suspensions, which wait for messages.

All but `task.suspend` are additions to the official protocol.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from resonate_store.model.records import EMPTY, Value


class MessageSend(Struct, frozen=True, rename="camel"):
    """Request to put a message into the inbox of the execution `id` (docs/rules.md M1).

    `name` is what the execution receives it by. `key` is its idempotency key: a second request with the same key gets
    the stored message.
    """

    kind: ClassVar = "message.send"
    id: str
    name: str
    key: str
    value: Value = EMPTY


class TaskReceive(Struct, frozen=True, rename="camel"):
    """Request to take a message for a command of an acquired task (docs/rules.md M4).

    `message` is the id of the message, and `place` the id of the command, which is below the task. With `timed`, the
    pending timer at `place` is settled in the same write.
    """

    kind: ClassVar = "task.receive"
    id: str
    version: int
    message: str
    name: str
    place: str
    timed: bool = False


class TaskPublish(Struct, frozen=True, rename="camel"):
    """Request to publish a value of an acquired task under a key (docs/rules.md M8).

    `place` is the id of the command, whose record gets the tags `tags` and the deadline `timeout_at` (ms).
    """

    kind: ClassVar = "task.publish"
    id: str
    version: int
    place: str
    key: str
    timeout_at: int
    value: Value = EMPTY
    tags: dict[str, str] = {}


class StatePut(Struct, frozen=True):
    """Internal request to store the value of a `TaskPublish`: one part of it."""

    kind: ClassVar = "state.put"
    publish: TaskPublish

    @property
    def id(self) -> str:
        """The id of the execution."""
        return self.publish.id


class TaskSuspend(Struct, frozen=True, rename="camel"):
    """Request to suspend an acquired task until one of the promises `awaited` settles.

    `cancel_seen` is whether the worker knows that the execution is cancelled. If it is False and the execution is, the
    request is refused with 300, and the response has the task. None is a worker that knows no cancellation (X3).
    `receives` are names of messages that it waits for as well, and `seen` is how many accepted messages it knows (M3).
    """

    kind: ClassVar = "task.suspend"
    id: str
    version: int
    awaited: tuple[str, ...]
    cancel_seen: bool | None = None
    receives: tuple[str, ...] = ()
    seen: int = 0


class TaskRegister(Struct, frozen=True):
    """Internal request to register callbacks at this version while the task stays acquired (docs/rules.md T9)."""

    kind: ClassVar = "task.register"
    id: str
    version: int
    awaited: tuple[str, ...]


class TaskSuspendRegistered(Struct, frozen=True):
    """Internal request to suspend a task after its callbacks are registered (docs/rules.md T9).

    It is refused with 300 if a resume is buffered. `until` is the earliest deadline (ms) of the promises below the task
    that it awaits, or None. `sleeps` is whether all promises that it awaits are timers. `unawaited` are promises that
    have a callback of the task and that it does not await. `cancel_seen`, `receives` and
    `seen` are as in `TaskSuspend`. `awaits` is one of the promises that it awaits (Q5).
    """

    kind: ClassVar = "task.suspend"
    id: str
    version: int
    until: int | None = None
    sleeps: bool = False
    unawaited: tuple[str, ...] = ()
    cancel_seen: bool | None = None
    receives: tuple[str, ...] = ()
    seen: int = 0
    awaits: str | None = None
