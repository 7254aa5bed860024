"""Executions as a whole: their status, what a list shows of them, and the transitions of the requests about them.

An execution is a root promise (docs/rules.md E1). Its status is derived from its record alone, so that a store can keep
an index of it. A suspended task has the id of one promise that it awaits, a retry timer if there is one. This is how
"retrying" is known.

A cancellation is a request to the workflow, which may run compensating steps before it ends. It is a field of the
record and not of its task, so that no transition of the task loses it. Only a settlement clears it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from resonate_store.machine.draft import (
    Draft,
    Need,
    NeedChildren,
    NeedCounts,
    NeedRecords,
    Outcome,
    Transition,
    materialised,
    settled,
)
from resonate_store.machine.promises import not_found
from resonate_store.machine.tasks import offered
from resonate_store.model.addresses import problem_with_pin
from resonate_store.model.execution_requests import (
    MAX_SHOWN_CHARS,
    STATUSES_OF,
    ExecutionCount,
    ExecutionCounts,
    ExecutionGet,
    ExecutionPauses,
    ExecutionRetry,
    ExecutionSearch,
    ExecutionStatus,
    ExecutionView,
    PromiseCancel,
    TaskRepin,
)
from resonate_store.model.ids import encodable, family_of, is_retry_timer
from resonate_store.model.ids import problem_with as problem_with_id
from resonate_store.model.records import EMPTY, END_OF_TIME, Cancellation, PromiseView, Record, Value
from resonate_store.model.requests import PromiseSettle, Request, Response
from resonate_store.model.tags import FUNC, MESSAGE, ORIGIN

MAX_REASON: Final = 1000
"""The largest number of characters in the reason of a cancellation."""
MOST_COUNTED: Final = 10_000
"""About how many executions in one status are counted. More are `at_least` so many."""
MOST_PAUSES: Final = 100
"""How many pauses one `ExecutionRetry` ends."""
MOST_SEARCHED: Final = 1_000
"""About how many records an `ExecutionRetry` reads before it looks no deeper for them."""

Counted = Mapping[ExecutionStatus | str, tuple[int, bool]]
"""For each status, or "pending" for all four, how many there are, and whether there may be more."""


def status_of(record: Record) -> ExecutionStatus:
    """Return what an execution does now, as it is stored (docs/rules.md Q5)."""
    if record.state != "pending":
        return record.state
    task = record.task
    if task is None:
        return "waiting"
    if task.state == "suspended":
        return "retrying" if task.awaits is not None and is_retry_timer(task.awaits) else "waiting"
    if task.state == "halted":
        return "halted"
    if task.state == "acquired" or task.offers:
        return "running"
    return "retrying" if task.attempts or task.error else "waiting"  # else its start is delayed


def indexed_status(record: Record | None) -> ExecutionStatus | None:
    """Return the status of an execution, or None for a promise that is not a root, for the index of a store."""
    return None if record is None or not record.root else status_of(record)


def view_of(record: Record, now: int) -> ExecutionView:
    """Return what a list shows of an execution. What it waits for is only an id in `task`."""
    record = materialised(record, max(now, record.written_at))
    promise = record.promise()
    param, value = _short(promise.param), _short(promise.value)
    shortened = param is not promise.param or value is not promise.value
    if shortened:
        promise = replace(promise, param=param, value=value)
    task = record.task_view()
    if task is not None and record.task is not None and record.task.awaits is not None:
        task = replace(task, awaits=record.task.awaits)
    return ExecutionView(promise=promise, status=status_of(record), task=task, shortened=shortened)


def matches(search: ExecutionSearch, record: Record, now: int) -> ExecutionView | None:
    """Return what a search shows of a record, or None if it does not match (docs/rules.md Q6)."""
    if not (
        (search.func is None or record.tags.get(FUNC) == search.func)
        and search.tags.items() <= record.tags.items()
        and record.id.startswith(search.id or "")
        and (search.since is None or record.created_at >= search.since)
        and (search.until is None or record.created_at < search.until)
        and record.root
    ):
        return None
    view = view_of(record, now)
    return view if view.status in STATUSES_OF[search.state] else None


def with_awaited(views: Sequence[ExecutionView], now: int) -> Generator[Need, Any, tuple[ExecutionView, ...]]:
    """Add the promises that suspended executions wait for. Those that have settled are left out."""
    wanted = {view.task.awaits for view in views if view.task is not None and view.task.awaits}
    if not wanted:
        return tuple(views)
    ids = tuple(sorted(wanted))
    records: tuple[Record | None, ...] = yield NeedRecords(ids)
    awaited = {id: materialised(record, now) for id, record in zip(ids, records, strict=True) if record is not None}
    return tuple([_with(view, awaited.get((view.task and view.task.awaits) or "")) for view in views])


def _with(view: ExecutionView, awaited: Record | None) -> ExecutionView:
    if awaited is None or not awaited.pending or not view.promise.pending:
        return view
    return replace(view, awaited=_shown_promise(awaited), awaited_task=awaited.task_view())


def problem_with_search(request: ExecutionSearch) -> str | None:
    """Return what is wrong with the conditions of a search, or None if they are valid."""
    if request.state not in STATUSES_OF:
        known = ", ".join(each for each in STATUSES_OF if each is not None)
        return f"the state of an execution is one of {known}, not {request.state!r}"
    if request.func is not None and not encodable(request.func):
        return "the name of the function is not valid Unicode text"
    if request.id and (problem := problem_with_id(request.id, "id prefix")):
        return problem
    return problem_with_range(request)


def problem_with_range(request: ExecutionSearch | ExecutionCount) -> str | None:
    """Return what is wrong with the instants of a request, or None if they are valid."""
    for name, at in (("since", request.since), ("until", request.until)):
        if at is not None and not 0 <= at <= END_OF_TIME:
            return f"{name} is an instant in milliseconds since the epoch and cannot be {at}"
    return None


def problem_with_cancellation(request: PromiseCancel) -> str | None:
    """Return what is wrong with a cancellation, or None if it is valid."""
    if problem := problem_with_id(request.id):
        return problem
    if len(request.reason) > MAX_REASON:
        return f"the reason of a cancellation has at most {MAX_REASON} characters, not {len(request.reason)}"
    return None if encodable(request.reason) else "the reason of the cancellation is not valid Unicode text"


def problem_with_repin(request: TaskRepin) -> str | None:
    """Return what is wrong with a move to another version, or None if it is valid."""
    both = request.unpin and request.pinned and "a task that is unpinned has no version: remove pinned or unpin"
    return both or problem_with_id(request.id) or problem_with_pin(request.pinned)


def get(request: ExecutionGet, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    executions = yield from with_awaited((view_of(record, now),), now)
    return draft.outcome(Response(executions=executions))


def count(request: ExecutionCount, now: int) -> Transition:  # noqa: ARG001
    counted: Counted = yield NeedCounts(request.since, request.until)
    numbers = {name: number for name, (number, _) in counted.items()}
    at_least = {name for name, (_, more) in counted.items() if more}
    pending = STATUSES_OF["pending"]
    if "pending" not in numbers:
        numbers = dict.fromkeys(STATUSES_OF[None], 0) | numbers
        numbers["pending"] = sum(numbers[status] for status in pending)
        if at_least.intersection(pending):
            at_least.add("pending")
    return Outcome(Response(counts=ExecutionCounts(**numbers, at_least=tuple(sorted(at_least)))))


def cancel(request: PromiseCancel, now: int) -> Transition:
    """Note the cancellation, and offer the task if it is suspended. Settle at once what no workflow has begun (X1)."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    if not record.pending:
        return draft.outcome(Response(promise=record.promise()))
    task = record.task
    if request.force or task is None or (task.state == "pending" and task.version == 0):
        record = draft.put(settled(record, "rejected_canceled", EMPTY, now))
        return draft.outcome(Response(promise=record.promise(), cancel="accepted"))
    if record.cancel is not None:
        return draft.outcome(Response(promise=record.promise(), cancel="already"))
    if task.state == "suspended":
        task = offered(task, now)
    record = draft.put(replace(record, task=task, cancel=Cancellation(now, request.reason)))
    return draft.outcome(Response(promise=record.promise(), cancel="accepted"))


def retry(request: ExecutionRetry, now: int) -> Transition:
    """End the pause before the next attempt of a task (X7). Those of its steps are ended by `pauses`."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    task = record.task
    if task is None or task.state != "pending" or task.offers or not (task.attempts or task.error):
        return draft.outcome(Response(count=0))
    draft.put(replace(record, task=offered(task, now)))
    return draft.outcome(Response(count=1))


def pauses(request: ExecutionPauses, now: int) -> Transition:  # noqa: ARG001
    """Find the pending retry timers of a suspended execution, also those of its nested local workflows."""
    found: dict[str, PromiseView] = {}
    record: Record | None
    (record,) = yield NeedRecords((request.id,))
    if record is None or record.task is None or record.task.state != "suspended":
        return Outcome(Response(promises=()))
    if record.task.awaits is not None and is_retry_timer(record.task.awaits):  # it can be too deep to be found below
        (timer,) = yield NeedRecords((record.task.awaits,))
        if timer is not None and timer.pending:
            found[timer.id] = timer.promise()
    coroutines, read = [NeedChildren(record.id, record.generation)], 0
    while coroutines and len(found) < MOST_PAUSES and read < MOST_SEARCHED:
        children: tuple[Record, ...] = yield coroutines.pop()
        read += len(children)
        for child in children:
            if not child.pending or child.task is not None or MESSAGE in child.tags:
                continue
            if child.timer:
                if is_retry_timer(child.id):
                    found[child.id] = child.promise()
            else:
                coroutines.append(NeedChildren(child.id))
    return Outcome(Response(promises=tuple(found.values())[:MOST_PAUSES]))


def retry_all(request: ExecutionRetry, run: Callable[[Request], Response]) -> Response:
    """End the pauses of an execution: that of its task, or those of its steps. Each is one operation."""
    response = run(request)
    if not response.ok or response.count:
        return response
    ended = 0
    for timer in run(ExecutionPauses(request.id)).promises or ():
        response = run(PromiseSettle(timer.id, "resolved"))
        if not response.ok:
            return response
        ended += 1
    return Response(count=ended)


def problem_with_deletion(id: str, record: Record | None) -> str | None:
    """Return why an execution cannot be deleted before its retention is over, or None if it can (docs/rules.md E9)."""
    if record is None:
        return f"there is no promise {id!r}"
    if not record.root:
        return f"{id!r} is part of the execution {record.tags[ORIGIN]!r} and goes with it: delete that"
    if record.pending:
        return f"the execution {id!r} is pending: cancel it first, or wait for its end"
    if record.owes and (record.callbacks or record.listeners):
        return f"the end of {id!r} is still being told to those who wait for it: try again soon"
    return None


def tree_of(root: Record, children_of: Callable[[str], Sequence[Record]], now: int) -> list[Record] | str:
    """Return all records of a tree, the root last (E2), or the id of a running task that keeps it (E6).

    Args:
        root: the root of the tree.
        children_of: returns the records with an `ids.family`.
        now: the present instant (ms).
    """
    found: list[Record] = []
    level = [root]
    while level:
        found += level
        below: list[Record] = []
        for parent in level:
            families = [parent.id]
            families += [family_of(parent.id, each) for each in range(2, (parent.generation or 1) + 1)]
            for child in (child for family in families for child in children_of(family)):
                if child.root:
                    continue
                if child.task is not None and child.pending and child.timeout_at > now:
                    return child.id
                below.append(child)
        level = below
    return found[::-1]


def _shown_promise(record: Record) -> PromiseView:
    promise = record.promise()
    return replace(promise, param=_short(promise.param), value=_short(promise.value))


def _short(value: Value) -> Value:
    """Return a payload, or an empty one in place of a long one or of a claim."""
    if value.data is None:
        return value if type(value) is Value else EMPTY
    return value if len(value.data) <= MAX_SHOWN_CHARS else EMPTY
