"""A step that fails over and over, for as long as its execution may last: a year, unless somebody said otherwise.

In production that is what retries are for: somebody deploys a function without the error. A test that lets time pass
until the execution has ended would simulate the year, a retry every half minute, and never say why it takes so long.
So it looks, now and then, whether anything but retries has happened; whether anything else will, the records tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from resonate.payloads import codec
from resonate_store.model.records import Record
from resonate_store.model.tags import DELAY, FUNC

ATTEMPTS = 100
"""How often a step may fail while nothing else happens."""
INTERVAL = 50
"""Events between two looks at the records, of which there may be many."""


class Failing(NamedTuple):
    """A step that fails over and over: the id and the name of it, its attempts, and what the last one raised."""

    id: str
    name: str
    attempts: int
    error: BaseException

    def __str__(self) -> str:
        return f"{self.id}: {self.name} has failed {self.attempts} times, at last with {self.error!r}"


class Endless:
    """Notices that an execution does nothing any more but to try again.

    Args:
        life: how long (ms) what nobody gave a deadline may last; its end is not waited for.
    """

    def __init__(self, life: int) -> None:
        self._life = life
        self._events = 0
        self._progress = (0, 0)

    def due(self) -> bool:
        """Count one event; whether it is time for a look."""
        self._events += 1
        return self._events % INTERVAL == 0

    def failing(self, records: Sequence[Record]) -> list[Failing]:
        """The steps that have failed so often while nothing else happened that this can be expected to go on.

        Args:
            records: every record there is.

        Returns:
            The steps; none if there is hope.
        """
        timers: dict[str, tuple[int, Record]] = {}
        others: dict[str, Record] = {}
        for record in records:
            stem, _, number = record.id.rpartition("~")
            if not (record.timer and stem and number.isdigit()):
                others[record.id] = record
            elif stem not in timers or timers[stem][0] < int(number):
                timers[stem] = int(number), record
        again = {id: timer for stem, timer in timers.items() if (id := _failed(stem)) in others and others[id].pending}
        # A workflow that is tried again takes its steps again, under new ids.
        steps = tuple(f"{id}." for id in again)
        lasting = [record for record in others.values() if not record.id.startswith(steps)]
        progress = len(lasting), sum(not record.pending for record in lasting)
        if progress != self._progress:
            self._progress = progress
            return []
        # What an execution does without a deadline of its own ends with it.
        pending = [record for record in others.values() if record.pending]
        unlimited = {record.timeout_at for record in pending if record.timeout_at - record.created_at >= self._life}
        if any(record.timeout_at not in unlimited or DELAY in record.tags for record in pending):
            return []
        if any(attempt < ATTEMPTS for attempt, _ in again.values()):
            return []
        return [_failing(id, attempt, timer) for id, (attempt, timer) in sorted(again.items())]


def _failed(stem: str) -> str:
    """What the retry timers `{stem}~{attempt}` are for; an execution's own lie among its steps."""
    return stem.removesuffix(".0")


def _failing(id: str, attempt: int, timer: Record) -> Failing:
    # A retry timer carries the error of the attempt that it follows.
    failed = replace(timer, state="rejected", value=timer.param).promise()
    return Failing(id, timer.tags.get(FUNC, "it"), attempt, codec.decode_error(failed))
