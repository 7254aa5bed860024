"""Generations of an execution: histories that follow one another under one promise (docs/rules.md G1 to G6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Transition
from resonate_store.machine.tasks import not_found, not_held
from resonate_store.model import ids
from resonate_store.model.generation_requests import TaskContinueAs
from resonate_store.model.records import Record
from resonate_store.model.requests import Response


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


def outdated(id: str, generation: int, now: int, children_of: Callable[[str], Iterable[Record]]) -> Iterator[Record]:
    """Yield the records of the generation before `generation`, with everything below them (G5).

    A promise that is a root stays, with everything below it: it has its own retention. So does a running task.

    Args:
        id: the id of the execution.
        generation: the present generation.
        now: the present instant (ms).
        children_of: returns the records with an `ids.family`.
    """
    previous = generation - 1
    families = [ids.family_of(id, previous)]
    while families:
        for record in children_of(families.pop()):
            # A promise without the number of a command belongs to no generation.
            if ids.generation_of(record.id, id) != previous or record.root or _runs(record, now):
                continue
            yield record
            families.append(record.id)
            families += [ids.family_of(record.id, each) for each in range(2, (record.generation or 1) + 1)]


def _runs(record: Record, now: int) -> bool:
    return record.pending and record.task is not None and record.timeout_at > now
