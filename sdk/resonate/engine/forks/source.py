"""The execution that a fork copies: its records by command, and where it failed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from resonate.engine.history import Issued, as_record, independent
from resonate.errors import ForkError
from resonate.idempotency import KEYS, ForkNames
from resonate.payloads import codec
from resonate_store.model.ids import below, is_below
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import (
    FUNC,
    KIND,
    LINK,
    MESSAGE,
    PARENT,
    SCOPE,
    SEQUENCE,
    TAKEN,
    TIMER,
    UNDOES,
)

At = tuple[int, ...]
"""Place of a command: its number, or the numbers of the nested workflows above it and its own."""


def at_of(text: str) -> At:
    """Return the place that a text names: `7`, or `2.1` in a nested workflow.

    Raises:
        ForkError: the text is not a place.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,9}(\.[1-9][0-9]{0,9})*", text):
        raise ForkError(f"{text!r} is not the number of a command: give 7, or 2.1 for a command of a nested workflow")
    return tuple(map(int, text.split(".")))


class Source:
    """The execution that is copied, with its records.

    Args:
        promise: its promise.
        generation: the number of its present history; None is the first.
        records: every record below it, in any order. Values are not references.

    Attributes:
        created: the promises with ids of their own that this execution has created.
    """

    def __init__(self, promise: PromiseView, generation: int | None, records: Iterable[PromiseView]) -> None:
        self.promise = promise
        self.generation = generation
        self.id = promise.id
        self.created: set[str] = set()
        self._records: dict[str, PromiseView] = {}
        self._commands: dict[str, dict[int, PromiseView]] = {}
        self._others: dict[str, list[PromiseView]] = {}
        for record in records:
            if not independent(record):
                self._add(record)
        self.names = ForkNames.of(promise)
        keys = self.own_record(KEYS)
        if self.names is not None and keys is not None:
            self.names.learn(codec.decode(keys.value))

    def _add(self, record: PromiseView) -> None:
        self._records[record.id] = record
        place = record.tags.get(TAKEN)
        parent = record.tags.get(PARENT, "") if place is None else place.rpartition(".")[0]
        if parent != self.id and not is_below(parent, self.id):
            return
        number = self._number(record.id if place is None else place, parent)
        if number is None:
            self._others.setdefault(parent, []).append(record)
        elif number and (place is not None or number not in self._commands.get(parent, ())):
            # A message that was taken counts more than the timer of the same command.
            shown = record if place is None else as_record(place, record)
            self._commands.setdefault(parent, {})[number] = shown

    def _number(self, id: str, parent: str) -> int | None:
        """Return the number of a command; 0 if it is of an earlier history, and None if the id is not a command's."""
        text = id[len(parent) + 1 :]
        if parent == self.id:
            generation, plus, rest = text.partition("+")
            if plus and generation.isdecimal():
                if int(generation) != (self.generation or 1):
                    return 0
                text = rest
            elif self.generation is not None and (text[:1].isdecimal() or text.startswith("patch~")):
                return 0
        return int(text) if text.isdecimal() else None

    def numbers(self, id: str) -> At | None:
        """Return the place of a command of the present history, or None if the id is not below this execution."""
        place: At = ()
        while id != self.id:
            parent = id.rpartition(".")[0]
            number = self._number(id, parent)
            if not number or not (parent == self.id or is_below(parent, self.id)):
                return None
            place, id = (number, *place), parent
        return place

    def own_record(self, name: str) -> PromiseView | None:
        """Return the record of its present history with this name, such as "0~cancel", or None."""
        return self._records.get(f"{self.id}{below(self.generation)}{name}")

    def arguments(self) -> PromiseView:
        """Return the record with the arguments of a later generation.

        Raises:
            ForkError: it is missing.
        """
        record = self.own_record("0")
        if record is None:
            raise ForkError(f"the arguments of generation {self.generation} of {self.id!r} are missing")
        return record

    def messages(self) -> list[PromiseView]:
        """Return its messages, in the order of acceptance."""
        found = [record for record in self._records.values() if MESSAGE in record.tags]
        return sorted(found, key=lambda message: (message.created_at, int(message.tags.get(SEQUENCE, "0"))))

    def linked_promises(self) -> set[str]:
        """Return the ids of the settled promises that its workflows have awaited by ids of their own."""
        issued = (Issued.of(record) for record in self._records.values() if LINK in record.tags)
        return {command.id for command in issued if command.kind == "promise" and command.id is not None}

    def commands(self, parent: str) -> dict[int, PromiseView]:
        """Return the records of the commands of a workflow, by number."""
        return self._commands.get(parent, {})

    def others(self, parent: str) -> list[PromiseView]:
        """Return the records directly below a promise that are not those of commands."""
        return self._others.get(parent, [])

    def undone(self, parent: str) -> dict[int, int]:
        """Return the commands of a workflow that were undone, each with the number of its compensation."""
        return {
            int(record.tags[UNDOES]): number
            for number, record in self.commands(parent).items()
            if record.state == "resolved" and record.tags.get(UNDOES, "").isdecimal()
        }

    def last(self) -> int:
        """Return the number of its last command that has left a record, if only of an attempt."""
        begun = (self.numbers(record.id.rpartition("~")[0]) for record in self.others(self.id) if "~" in record.id)
        return max([*self.commands(self.id), *(place[0] for place in begun if place)], default=0)

    def cancelled_at(self) -> At | None:
        """Return the command of its own workflow that its cancellation has interrupted, or None."""
        record = self.own_record("0~cancel")
        for id, count, awaited in codec.decode(record.value) if record is not None else ():
            if id == self.id:
                return (self.numbers(awaited) or (max(1, count),))[:1] if awaited else (max(1, count),)
        return None

    def before_compensation(self, at: At) -> At:
        """Return the place, or an earlier one from which everything that was undone is run again."""
        undone = self.undone(self.id)
        while again := [number for number, undo in undone.items() if number < at[0] <= undo]:
            at = (min(again),)
        return at


def failed_at(source: Source) -> At | None:
    """Return the place from which a redrive of a failed execution begins; None if no command is surely to blame.

    That is the command whose error left the workflow, the one that its cancellation has interrupted, or the first that
    its deadline has ended. If actions were undone since, it is the first of these.
    """
    found = _to_blame(source)
    return None if found is None else source.before_compensation(found)


def _to_blame(source: Source) -> At | None:
    root, commands = source.promise, source.commands(source.id)
    if root.state == "rejected_canceled":
        return source.cancelled_at() or _first_ended_with(source)
    if root.state == "rejected_timedout":
        return _first_ended_with(source)
    if root.state != "rejected":
        return None
    error = _fingerprint(root)
    failed = {number for number, each in commands.items() if _is_failed(each) and _fingerprint(each) == error}
    if not failed:
        return None
    number = max(failed)
    # Commands that ran at the same time can fail alike. All of them are issued anew.
    while earlier := [each for each in failed if each < number and _overlap(commands[each], commands[number])]:
        number = min(earlier)
    return (number,)


def _first_ended_with(source: Source) -> At:
    """Return the first command that ended only because the execution did, or the one after the last."""
    ended_at = source.promise.settled_at or source.promise.timeout_at
    cut = [
        number
        for number, each in source.commands(source.id).items()
        if (each.settled_at or 0) >= ended_at and (_is_failed(each) or each.timer)
    ]
    return (min(cut, default=source.last() + 1),)


def _is_failed(record: PromiseView) -> bool:
    return not record.pending and record.state != "resolved"


def _overlap(first: PromiseView, second: PromiseView) -> bool:
    return (first.settled_at or 0) > second.created_at


def _fingerprint(record: PromiseView) -> tuple[str, str]:
    """Return the type and text of an error, which stay the same when the error passes through a workflow."""
    error = codec.decode_error(record)
    return type(error).__qualname__, str(error)


def is_local(record: PromiseView) -> bool:
    """Return whether a record is that of a function that its caller's worker runs."""
    tags = record.tags
    return tags.get(SCOPE) == "local" and FUNC in tags and KIND not in tags and TIMER not in tags
