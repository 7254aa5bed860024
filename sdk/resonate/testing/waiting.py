"""What an execution waits for that does not go on, in words that say who has to do what.

The answer is found where it is stored: a suspended task stands in the callbacks of everything it awaits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from resonate_store.model.records import Record
from resonate_store.model.tags import FUNC, SCOPE


class Wait(NamedTuple):
    """One thing that nothing here will ever do.

    `kind` says what it is: a promise that somebody outside settles, a timer, a task that was offered to a target
    which nobody serves, one that is halted, or one that a worker holds or will be offered.
    """

    id: str
    kind: str
    deadline: int
    text: str


def waits_of(id: str, records: Mapping[str, Record], unserved: Mapping[str, str]) -> list[Wait]:
    """Everything that the execution `id` waits for in the end, through other executions.

    Args:
        records: every record there is, by id.
        unserved: the targets that tasks were offered to and nobody serves, by the task's id.
    """
    found: dict[str, Wait] = {}
    left = [id]
    seen: set[str] = set()
    while left:
        record = records.get(left.pop())
        if record is None or not record.pending or record.id in seen:
            continue
        seen.add(record.id)
        if record.task is not None and record.task.state == "suspended":
            left += [awaited.id for awaited in records.values() if record.id in awaited.callbacks]
        elif record.task is not None or record.tags.get(SCOPE) != "local":
            found[record.id] = _wait(record, unserved.get(record.id))
    return sorted(found.values())


def told(waits: Sequence[Wait]) -> str:
    """The waits as lines of a message."""
    return "".join(f"\n  {wait.id}: {wait.text}" for wait in waits)


def _wait(record: Record, unserved: str | None) -> Wait:
    until = f"its deadline is {instant(record.timeout_at)}"
    task = record.task
    if task is None and record.timer:
        return Wait(record.id, "timer", record.timeout_at, f"a timer that is due at {instant(record.timeout_at)}")
    if task is None:
        settle = f"stack.resolve({record.id!r}, value)"
        return Wait(
            record.id, "promise", record.timeout_at, f"a promise that somebody has to settle: {settle}; {until}"
        )
    if task.state == "halted":
        return Wait(record.id, "halted", record.timeout_at, f"its task is halted: {task.error}")
    if unserved is not None:
        name = record.tags.get(FUNC, "...")
        text = f"offered to {unserved}, which nobody serves: register {name}, or stack.mock({name!r}, function)"
        return Wait(record.id, "unserved", record.timeout_at, f"{text}; {until}")
    text = f"its task is {task.state}" + (f" after {task.attempts} attempts: {task.error}" if task.attempts else "")
    return Wait(record.id, "task", record.timeout_at, f"{text}; {until}")


def instant(at: int) -> str:
    """An instant (milliseconds since the epoch) for a reader."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
