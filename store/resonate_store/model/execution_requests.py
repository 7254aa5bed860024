"""Requests about executions, what they show of one, and the holder of its task.

An execution is a root promise (docs/rules.md E1). All of these requests are additions to the official protocol.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, get_args

from msgspec import Struct

from resonate_store.model import ids
from resonate_store.model.records import PromiseView, Task

ExecutionStatus = Literal[
    "running",
    "waiting",
    "retrying",
    "halted",
    "resolved",
    "rejected",
    "rejected_canceled",
    "rejected_timedout",
]
"""What an execution does now (docs/rules.md Q5). The first four are parts of the state "pending"."""
ExecutionFilter = Literal["pending", ExecutionStatus, "failed"]
"""Which executions a search finds: those in a status, or "pending", or "failed" (rejected or timed out)."""
_STATUSES: Final[tuple[ExecutionStatus, ...]] = get_args(ExecutionStatus)
STATUSES_OF: Final[dict[ExecutionFilter | None, tuple[ExecutionStatus, ...]]] = {
    None: _STATUSES,
    "pending": _STATUSES[:4],
    **{status: (status,) for status in _STATUSES},
    "failed": ("rejected", "rejected_timedout"),
}
"""The statuses that each filter finds. A cancellation is not a failure. None means all."""
MAX_SHOWN_CHARS: Final = 4096
"""The longest payload (characters) that an `ExecutionView` has. Longer ones are left out."""


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


class TaskCopy(Struct, frozen=True, rename="camel"):
    """Request to store a record of another execution below the fork `id`, unless there is one (docs/rules.md F2).

    It is an addition to the official protocol. The task of `id` must be a fork that was not continued yet.
    """

    kind: ClassVar = "task.copy"
    id: str
    promise: PromiseView


class Holder(Struct, frozen=True):
    """Process that can acquire the task of a caller at once.

    `ttl` is the length of the lease (ms), and `targets` are the targets that the process serves.
    """

    pid: str
    ttl: int
    targets: tuple[str, ...]


class ExecutionSearch(Struct, frozen=True, rename="camel"):
    """Search for executions, the newest first (docs/rules.md Q5 to Q7).

    An execution must be in `state`, call the function `func`, and have all `tags` with these texts. Its id must begin
    with `id`. It must be created at `since` (ms) or later, and before `until` (ms). A condition that is not set does
    not count.

    One page has at most `limit` executions, 1 to 1,000. It may have fewer, or none, because the store reads a limited
    number of records for one page. Only a page without a `cursor` is the last.
    """

    kind: ClassVar = "execution.search"
    state: ExecutionFilter | None = None
    func: str | None = None
    tags: dict[str, str] = {}
    id: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 100
    cursor: str | None = None


class ExecutionGet(Struct, frozen=True, rename="camel"):
    """Question for one execution, shown as `ExecutionSearch` shows it. Any promise with this id is shown."""

    kind: ClassVar = "execution.get"
    id: str


class ExecutionCount(Struct, frozen=True, rename="camel"):
    """Question how many executions are in each status, of those created from `since` until before `until` (ms)."""

    kind: ClassVar = "execution.count"
    since: int | None = None
    until: int | None = None


class ExecutionRetry(Struct, frozen=True, rename="camel"):
    """Request to end the pause before the next attempt of the execution's task, or of its steps (docs/rules.md X7)."""

    kind: ClassVar = "execution.retry"
    id: str


class ExecutionPauses(Struct, frozen=True):
    """Internal question for the pending retry timers of the steps of a suspended execution."""

    kind: ClassVar = "execution.pauses"
    id: str


class ExecutionDelete(Struct, frozen=True, rename="camel"):
    """Request to delete an execution that has ended, and everything below it (docs/rules.md E9)."""

    kind: ClassVar = "execution.delete"
    id: str


class ExecutionView(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An execution as a search shows it.

    `promise` is its root promise, without payloads of more than `MAX_SHOWN_CHARS` characters; `shortened` is whether
    one is left out. `task` is its task, if it has one. `awaited` is one of the promises that the suspended task waits
    for, and `awaited_task` is its task. If it is the retry timer of a step, its param is the error of the last
    attempt, and its deadline is the instant of the next one.
    """

    promise: PromiseView
    status: ExecutionStatus
    task: Task | None = None
    awaited: PromiseView | None = None
    awaited_task: Task | None = None
    shortened: bool = False


class ExecutionCounts(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """How many executions are in each status. A number that is too expensive to count is None.

    `pending` is the sum of the first four, and known even if they are not. `at_least` names the fields that are lower
    bounds, because the store counts up to a limit.
    """

    pending: int
    running: int | None = None
    waiting: int | None = None
    retrying: int | None = None
    halted: int | None = None
    resolved: int
    rejected: int
    rejected_canceled: int
    rejected_timedout: int
    at_least: tuple[str, ...] = ()


ExecutionRequest = (
    ExecutionSearch
    | ExecutionGet
    | ExecutionCount
    | ExecutionRetry
    | ExecutionDelete
    | PromiseCancel
    | TaskContinueAs
    | TaskRepin
    | TaskCopy
)
"""Requests of this module that travel."""


def problem_with_generation(id: str, generation: int | None, last: int) -> str | None:
    """Return why a generation of the execution `id` is not valid, or None if it is. `last` is the largest number."""
    if problem := ids.problem_with(id):
        return problem
    if generation is not None and not 2 <= generation <= last:
        return f"the generation is the number of the next history, 2 or more, and cannot be {generation}"
    return None
