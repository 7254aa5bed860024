"""Histories of an execution that begin where another one ended.

Generations follow one another under one promise (docs/rules.md G1 to G6). A fork is a new execution with records of
another one (F1 to F8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Outcome, Transition
from resonate_store.machine.effects import Change
from resonate_store.machine.promises import created, first_record
from resonate_store.machine.tasks import FORK_VERSION, is_being_copied, not_found, not_held
from resonate_store.model import ids
from resonate_store.model.execution_requests import TaskContinueAs, TaskCopy
from resonate_store.model.records import Record, Task, TaskRecord, begins_tree
from resonate_store.model.requests import ContinueWithArguments, PromiseRecord, Response, TaskFork
from resonate_store.model.tags import FORKED_FROM, TAKEN

KEPT_TAKEN_MS: Final = 1_800_000
"""How long (ms) a message stays after an earlier generation has taken it: its sender may repeat it (M10)."""


def continue_as(request: TaskContinueAs, now: int) -> Transition:
    """Raise the generation of an acquired task by 1. A repeated request changes nothing."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    refusal = not_held(record, request.version)
    if record is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    current = record.generation or 1
    if request.generation == current + 1:
        record = draft.put(replace(record, generation=request.generation))
    elif request.generation != current:
        error = f"Generation mismatch: the task is in generation {current}"
        return draft.outcome(Response(status=409, error=error))
    return draft.outcome(Response(task=record.task_view()))


def continue_with(request: ContinueWithArguments, now: int) -> Transition:
    """Record the arguments of the next generation and raise the generation, unless the arguments are recorded."""
    draft = Draft(now)
    (known,) = yield from draft.read(request.arguments.id)
    if known is not None:
        return draft.outcome(Response(promise=known.promise()))
    outcome = yield from continue_as(request, now)
    task = outcome.response.task
    if not outcome.changes or task is None:
        return outcome
    return _with_arguments(task, outcome.changes, request.arguments, now)


def _with_arguments(task: Task, changes: tuple[Change, ...], arguments: PromiseRecord, now: int) -> Outcome:
    recorded = first_record(arguments, now)
    return Outcome(Response(task=task, promise=recorded.response.promise), recorded.changes + changes)


def continued(request: ContinueWithArguments, record: Record, now: int) -> Outcome | None:
    """Return the outcome of `continue_with`, if nothing else happens to its record, which is nearly always so.

    A store can call this directly if it has read the record, no record has the id of the arguments, and no other
    process writes to it.
    """
    task, generation, wake_at = record.task, request.generation, record.wake_at
    if task is None or task.state != "acquired" or task.version != request.version or record.timeout_at <= now:
        return None
    if record.written_at > now or generation != (record.generation or 1) + 1 or record.state != "pending":
        return None
    if wake_at is None or wake_at <= now:
        return None
    after = replace(record, generation=generation, written_at=now, rev=record.rev + 1)
    view = after.task_view()
    assert view is not None
    return _with_arguments(view, (Change(record, after),), request.arguments, now)


def outdated(
    id: str, generation: int, now: int, children_of: Callable[[str], Sequence[Record]]
) -> list[tuple[str, list[Record]]]:
    """Return the records of the generation before `generation`, with everything below them (G5), by their `ids.family`.

    Messages that any earlier generation has taken are among them, if their senders do not repeat them any more (M10).
    A promise that is a root stays, with everything below it: it has its own retention. So does a running task.

    Args:
        id: the id of the execution.
        generation: the present generation.
        now: the present instant (ms).
        children_of: returns the records with an `ids.family`.
    """
    previous = generation - 1
    family = ids.family_of(id, previous)
    begin = len(id) + 1 if previous == 1 else len(family)
    groups: list[tuple[str, list[Record]]] = []
    levels = [(family, children_of(family))]
    while levels:
        above, children = levels.pop()
        found: list[Record] = []
        for record in children:
            child, task = record.id, record.task
            # A promise without the number of a command belongs to no generation.
            if above is family and not (child[begin:].isdecimal() or ids.generation_of(child, id) == previous):
                continue
            if begins_tree(child, record.tags) or (task is not None and record.pending and record.timeout_at > now):
                continue
            found.append(record)
            if below := children_of(child):
                levels.append((child, below))
            if record.generation is not None:
                further = [ids.family_of(child, each) for each in range(2, record.generation + 1)]
                levels += [(each, children_of(each)) for each in further]
        if found:
            groups.append((above, found))
    if messages := children_of(id):
        taken = [each for each in messages if is_over(each.tags.get(TAKEN), each.settled_at, id, generation, now)]
        groups.append((id, taken))
    return groups


def is_over(place: str | None, taken_at: int | None, id: str, generation: int, now: int) -> bool:
    """Return whether a record is a message that an earlier generation took long ago.

    Args:
        place: the id of the command that has taken it; None if the record is not a taken message.
        taken_at: the instant at which it was taken (ms).
        id: the id of the execution.
        generation: the present generation.
        now: the present instant (ms).
    """
    if place is None or taken_at is None or taken_at + KEPT_TAKEN_MS > now:
        return False
    taken_in = ids.generation_of(place, id)
    return taken_in is not None and taken_in < generation


def fork(request: TaskFork, now: int) -> Transition:
    """Create an execution whose task is halted until its records are copied (F1). A repetition changes nothing."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        record = created(request, now)
        if record.pending:
            reason = f"the records of {request.tags[FORKED_FROM]!r} are being copied"
            task = TaskRecord("halted", FORK_VERSION, error=reason, halted_at=now)
            record = replace(record, task=task, generation=request.generation)
        record = draft.put(record)
    return draft.outcome(Response(promise=record.promise(), task=record.task_view()))


def copy(request: TaskCopy, now: int) -> Transition:
    """Store a record below a fork that was not continued yet. A stored record is not changed (F2).

    The write has no condition on the fork. A copy that follows its continuation is the record of a command that the
    fork issues too, and the first writer wins.
    """
    draft = Draft(now)
    fork, record = yield from draft.read(request.id, request.promise.id)
    if fork is None or fork.task is None:
        return draft.outcome(not_found())
    if not is_being_copied(fork):
        error = f"{request.id!r} is not a fork whose records are being copied"
        return draft.outcome(Response(status=409, error=error))
    if record is None:
        given = request.promise
        record = draft.put(
            Record(
                id=given.id,
                state=given.state,
                timeout_at=given.timeout_at,
                created_at=given.created_at,
                settled_at=given.settled_at,
                param=given.param,
                value=given.value,
                tags=given.tags,
            )
        )
    return draft.outcome(Response(promise=record.promise()))
