"""Requests about an execution as a whole, which are additions to the official protocol, and the holder of its task."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class PromiseCancel(Struct, frozen=True, rename="camel"):
    """Request to cancel an execution. An addition to the official protocol (docs/rules.md X1).

    `reason` is shown to the workflow and to people. With `force` the promise is settled at once, and the
    workflow gets no error.
    """

    kind: ClassVar = "promise.cancel"
    id: str
    reason: str = ""
    force: bool = False


class TaskContinueAs(Struct, frozen=True, rename="camel"):
    """Request to begin the next history of an acquired task, with the number `generation`, 2 or more.

    It is an addition to the official protocol. A repetition changes nothing. The arguments of the new generation are
    the promise `{id}.{generation}+0`, which is written before (docs/rules.md G1 to G6).
    """

    kind: ClassVar = "task.continue_as"
    id: str
    version: int
    generation: int


class TaskRepin(Struct, frozen=True, rename="camel"):
    """Request to move an execution to another version of its function. An addition to the official protocol.

    `pinned` is the address of the version, `lambda://name:version`. An empty text pins the task to the version that
    acquires it next at its target. With `unpin` the task is not pinned. A halted task is continued (docs/rules.md N3).
    """

    kind: ClassVar = "task.repin"
    id: str
    pinned: str = ""
    unpin: bool = False


class Holder(Struct, frozen=True):
    """Process that can acquire the task of a caller at once.

    `ttl` is the length of the lease (ms), and `targets` are the targets that the process serves.
    """

    pid: str
    ttl: int
    targets: tuple[str, ...]
