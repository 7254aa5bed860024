"""Why an execution in a test does not end: what it waits for, and which steps only fail and retry.

Both answers are read from the records. A suspended task is in the callbacks of every promise that it awaits. A step
that fails has one retry timer for each attempt.

In production, steps are retried until the execution times out, so that a corrected deployment can complete them. The
default timeout is a year. A test that moved its clock over a year would simulate a retry every 30 s, without showing
the cause. So a stack checks at intervals whether anything but retries has happened. If not, it ends the wait.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from resonate.payloads import codec
from resonate_store.documented import Documented
from resonate_store.model import clock
from resonate_store.model.records import Record
from resonate_store.model.tags import BEGUN, DELAY, FUNC, LINK, MESSAGE, PUBLISHED, SCOPE

HOPELESS_ATTEMPTS = 100
"""Number of failed attempts, with nothing else happening, after which a test stops waiting."""
EVENTS_BETWEEN_LOOKS = 50
"""Number of events between two reads of all records, which can be many."""
MOST_NAMED = 5
"""Maximum number of waiting promises that an error names."""


class Stuck(Documented, AssertionError):
    """Nothing in the stack will make the execution continue. The `message` says what to do.

    Attributes:
        id: the execution.
        waits: the ids of the promises that it waits for, or of the steps that fail again and again.
    """

    def __init__(self, id: str, message: str, waits: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.id = id
        self.waits = waits


class Wait(NamedTuple):
    """One thing that an execution waits for, and that does not happen in the stack by itself.

    Attributes:
        id: the promise.
        kind: `promise` (to be settled from outside), `message` (to be sent), `timer`, `unserved`, `halted` or `task`.
            `unserved` is a task offered to a target without a worker. `task` is one that a worker holds or will get.
        deadline: the promise's deadline (ms since 1970).
        text: says what has to be done.
    """

    id: str
    kind: str
    deadline: int
    text: str


def waits_of(id: str, records: Mapping[str, Record], unserved: Mapping[str, str]) -> list[Wait]:
    """Return everything that the execution `id` waits for, directly or through other executions.

    Args:
        id: the execution.
        records: all records, by id.
        unserved: the target of each offered task that has no worker, by the task's id.
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
            for name in record.task.receives:
                text = f"a message: stack.send({record.id!r}, {name!r}, value)"
                found[f"{record.id} {name}"] = Wait(record.id, "message", record.timeout_at, text)
            left += [awaited.id for awaited in records.values() if record.id in awaited.callbacks]
        elif record.task is not None or record.tags.get(SCOPE) != "local":
            found[record.id] = _wait(record, unserved.get(record.id))
    return sorted(found.values())


def lines_of(waits: Sequence[Wait]) -> str:
    """Return the waits as lines of a message."""
    return "".join(f"\n  {wait.id}: {wait.text}" for wait in waits)


def stuck_at(id: str, waits: Sequence[Wait], at: int | None, deadline: int, advice: str) -> Stuck:
    """Return the error of an execution that waits for what will not happen, or not in the given time.

    Args:
        id: the execution.
        waits: what it waits for.
        at: the instant (ms) of the next event of the stack, or None.
        deadline: the instant (ms) at which the execution times out.
        advice: what the stack adds.
    """
    if at is None:
        fact = "is pending and nothing will happen to it"
    elif at < deadline:
        fact = f"has no outcome within the given time; the next event is due at {instant(at)}"
    else:
        fact = f"has no outcome before it times out: nothing happens before its deadline, {instant(deadline)}"
    message = f"{id} {fact}. It waits for{lines_of(waits) or ' nobody'}"
    return Stuck(id, message + advice, tuple(wait.id for wait in waits))


def only_retries(id: str, failing: Sequence[Failing]) -> Stuck:
    """Return the error of an execution whose steps only fail and are retried."""
    lines = "".join(f"\n  {each}" for each in failing)
    message = f"{id} is pending and nothing else happens to it but retries; say days=... to wait for more{lines}"
    return Stuck(id, message, tuple(each.id for each in failing))


def missing(id: str, records: Sequence[Record]) -> Stuck:
    """Return the error of a promise that does not exist. It names those that wait to be settled, close ids first."""
    waiting = [record.id for record in records if _is_for_tests(record)]
    close = difflib.get_close_matches(id, waiting, n=MOST_NAMED, cutoff=0)
    more = f" and {len(waiting) - len(close)} more" if len(waiting) > len(close) else ""
    known = f"these wait to be settled: {', '.join(close)}{more}" if close else "no promise waits to be settled"
    return Stuck(id, f"there is no promise {id}; {known}", tuple(close))


def _is_for_tests(record: Record) -> bool:
    """Return whether a pending promise is settled by neither a worker nor time, so by the test."""
    local = record.tags.get(SCOPE) == "local" or not {MESSAGE, PUBLISHED, LINK}.isdisjoint(record.tags)
    return record.pending and record.task is None and not record.timer and not local


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
    """Return an instant (ms since 1970) as text, in UTC with a space before the time."""
    return clock.instant(at).replace("T", " ").removesuffix("Z")


class Failing(NamedTuple):
    """A step that only fails and retries: its id and name, the number of attempts, and the last error."""

    id: str
    name: str
    attempts: int
    error: BaseException

    def __str__(self) -> str:
        return f"{self.id}: {self.name} has failed {self.attempts} times, at last with {self.error!r}"


class Endless:
    """Detector of executions that only retry.

    Args:
        life_ms: the default timeout of promises, which a test does not wait for.
    """

    def __init__(self, life_ms: int) -> None:
        self._life_ms = life_ms
        self._events = 0
        self._progress = (0, 0)

    def due(self) -> bool:
        """Count one event, and return whether to read the records now."""
        self._events += 1
        return self._events % EVENTS_BETWEEN_LOOKS == 0

    def failing(self, records: Sequence[Record]) -> list[Failing]:
        """Return the steps that keep failing. Return none while anything else happens or has a deadline.

        Args:
            records: all records.
        """
        timers: dict[str, tuple[int, Record]] = {}
        others: dict[str, Record] = {}
        for record in records:
            if BEGUN in record.tags:
                continue  # the mark of an attempt is not progress
            stem, _, number = record.id.rpartition("~")
            if not (record.timer and stem and number.isdigit()):
                others[record.id] = record
            elif stem not in timers or timers[stem][0] < int(number):
                timers[stem] = int(number), record
        again = {id: timer for stem, timer in timers.items() if (id := _failed(stem)) in others and others[id].pending}
        # A workflow that is retried repeats its steps under new ids.
        steps = tuple(f"{id}." for id in again)
        lasting = [record for record in others.values() if not record.id.startswith(steps)]
        progress = len(lasting), sum(not record.pending for record in lasting)
        if progress != self._progress:
            self._progress = progress
            return []
        # A promise without its own deadline has the deadline of its execution.
        pending = [record for record in others.values() if record.pending]
        unlimited = {record.timeout_at for record in pending if record.timeout_at - record.created_at >= self._life_ms}
        if any(record.timeout_at not in unlimited or DELAY in record.tags for record in pending):
            return []
        if any(attempt < HOPELESS_ATTEMPTS for attempt, _ in again.values()):
            return []
        return [_failing(id, attempt, timer) for id, (attempt, timer) in sorted(again.items())]


def _failed(stem: str) -> str:
    """Return the id of the function that the retry timers `{stem}~{attempt}` belong to.

    The stem of a step is its id; the stem of an execution is its id and `.0`.
    """
    return stem.removesuffix(".0")


def _failing(id: str, attempt: int, timer: Record) -> Failing:
    # A retry timer carries the error of the attempt that it follows.
    failed = replace(timer, state="rejected", value=timer.param).promise()
    return Failing(id, timer.tags.get(FUNC, "it"), attempt, codec.decode_error(failed))
