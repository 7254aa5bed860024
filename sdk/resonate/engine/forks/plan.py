"""Plan of a fork: which records of an execution a new execution begins with (docs/rules.md F1 to F8). Pure.

The outcomes of the commands before a place are copied, so that the fork continues from there. A command that was
pending is issued anew. So is every command from the place on, and the plan notes the idempotency keys of those.
A nested workflow that has not ended, or that has the place in it, is copied as pending, with its own commands.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from resonate.engine.forks.source import At, Source, is_local
from resonate.engine.functions.attempt_limits import ATTEMPT
from resonate.engine.history import Issued, as_record
from resonate.errors import ForkError
from resonate.idempotency import KEYS, ForkNames
from resonate.payloads import codec
from resonate_store.model.ids import below, is_below
from resonate_store.model.records import END_OF_TIME, PromiseView, Value
from resonate_store.model.tags import (
    AFTER,
    BEGUN,
    BRANCH,
    DELAY,
    FORKED_AT,
    FORKED_FROM,
    KEY_STEM,
    KIND,
    LINK,
    MESSAGE,
    ORIGIN,
    PARENT,
    PREFIX,
    PUBLISHED,
    PUBLISHER,
    SCHEDULE,
    SCOPE,
    TAKEN,
    TARGET,
    TIMER,
    UNDOES,
)

_BEFORE_FORK: Final = "1"
"""The version of a copied mark of an attempt. No worker of the fork has it, so the attempt counts as interrupted."""


class Plan(Struct):
    """What a fork consists of.

    Attributes:
        root: the promise of the fork, pending.
        generation: the number of the history that is copied; None is the first.
        copies: the records below it.
        messages: the messages that it can receive, in order: the ones that no copied command has taken.
        warnings: what a person should know, as sentences.
    """

    root: PromiseView
    generation: int | None
    copies: list[PromiseView]
    messages: list[PromiseView]
    warnings: list[str]


def plan(source: Source, at: At, new: str, now: int, call: Value | None = None) -> Plan:
    """Return what a fork consists of.

    Args:
        source: the execution that is copied.
        at: the place of the first command that is issued anew.
        new: the id of the fork.
        now: the present instant (ms), from which its deadline counts.
        call: its call, if it has other arguments than the source.

    Raises:
        ForkError: a fork from this place would not continue as its source did.
    """
    return _Planning(source, at, new, now).plan(call)


class _Planning:
    """The making of one plan."""

    def __init__(self, source: Source, at: At, new: str, now: int) -> None:
        self._source = source
        self._at = at
        self._new = new
        promise = source.promise
        lasts_ms = promise.timeout_at - promise.created_at
        self._timeout_at = min(now + lasts_ms, END_OF_TIME) if promise.timeout_at < END_OF_TIME else END_OF_TIME
        self._now = now
        stem = promise.id if source.names is None else promise.tags[KEY_STEM]
        self._names = ForkNames(new, stem, new)
        self._keys: dict[str, list[Any]] = {} if source.names is None else source.names.known()
        self._copies: list[PromiseView] = []
        self._copied: set[str] = set()
        self._warnings: list[str] = []

    def plan(self, call: Value | None) -> Plan:
        source, at = self._source, self._at
        if at[0] > source.last() + 1:
            raise ForkError(f"{source.id!r} has {source.last()} commands, and {at[0]} is not the next one")
        cancelled = source.cancelled_at()
        if cancelled is not None and at > cancelled:
            place = cancelled[0]
            raise ForkError(
                f"{source.id!r} was cancelled while it waited for command {place}, and has compensated after it:"
                f" fork it from {place} or an earlier command"
            )
        own = self._moved_root(call)
        self._copy_level(source.id, at)
        if source.generation is not None:
            self._copy_arguments(call)
        self._copy_receipts()
        self._copy_state()
        self._copies.append(self._record_of_keys(own))
        messages = [each for each in source.messages() if self._is_receivable(each)]
        return Plan(own, source.generation, self._copies, messages, self._warnings)

    def _moved_root(self, call: Value | None) -> PromiseView:
        source = self._source.promise
        dropped = {SCHEDULE, DELAY, FORKED_AT, FORKED_FROM, KEY_STEM, UNDOES}
        tags = {name: text for name, text in source.tags.items() if name not in dropped}
        tags |= dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), self._new)
        at = ".".join(map(str, self._at))
        stem = self._names.key(self._new, self._new, "")
        tags |= {FORKED_FROM: source.id, FORKED_AT: at, KEY_STEM: stem, SCOPE: "global"}
        param = source.param if call is None or self._source.generation is not None else call
        return PromiseView(
            id=self._new,
            state="pending",
            param=param,
            value=Value(),
            tags=tags,
            timeout_at=self._timeout_at,
            created_at=self._now,
        )

    def _is_receivable(self, message: PromiseView) -> bool:
        """Return whether the fork can receive a message: no command before the place has taken it."""
        taken_by = message.tags.get(TAKEN)
        if taken_by is None:
            return True
        place = self._source.numbers(taken_by)
        return place is not None and not self._is_before(place)

    def _is_before(self, place: At) -> bool:
        for number, limit in zip(place, self._at, strict=False):
            if number != limit:
                return number < limit
        return False

    # Which records

    def _copy_level(self, parent: str, at: At | None) -> bool:
        """Copy what is before the place, of the commands of one workflow; None is the end.

        Returns:
            Whether an outcome is among it.
        """
        source, first = self._source, len(self._copies)
        limit, rest = (0, ()) if at is None else (at[0], at[1:])
        undone = source.undone(parent)
        if again := [number for number, undo in undone.items() if number < limit <= undo]:
            raise ForkError(
                f"command {again[0]} of {parent!r} was undone by command {undone[again[0]]}, so a fork has to run it"
                f" again: fork from {min(again)} or an earlier command, or from {max(undone.values()) + 1} on"
            )
        commands = sorted(source.commands(parent).items())
        issued_at = min((each.created_at for number, each in commands if number >= limit), default=END_OF_TIME)
        for number, record in commands:
            if at is None or number < limit:
                # A later command may have cancelled it, such as a race that it has lost.
                was_pending = at is not None and record.state == "rejected_canceled" and _settled(record) >= issued_at
                self._copy_command(record, was_pending=record.pending or was_pending)
            elif number == limit and rest:
                self._copy_around(record, rest)
            else:
                self._note_keys(record, undone=number in undone)
        if rest and limit not in source.commands(parent):
            raise ForkError(f"{parent!r} has no recorded command {limit}: fork from one that `resonate tree` shows")
        for record in source.others(parent):
            self._copy_other(record, parent, at)
        return any(not copy.pending for copy in self._copies[first:])

    def _copy_command(self, record: PromiseView, *, was_pending: bool) -> None:
        """Copy the outcome of a command, or what a pending nested workflow has done."""
        if not was_pending:
            self._copy(record)
            self._note_keys_below(record)
            return
        tags = record.tags
        if is_local(record):
            begin = len(self._copies)
            if self._copy_level(record.id, None):
                self._copies.insert(begin, self._pending(record))
        elif record.pending and not {TARGET, TIMER} & tags.keys() and KIND not in tags:
            self._warn_of(record)

    def _copy_around(self, record: PromiseView, at: At) -> None:
        """Copy the nested workflow that the place is in, as pending. `at` is the place in it."""
        if not is_local(record) or LINK in record.tags or not self._source.commands(record.id):
            command = Issued.of(record)
            raise ForkError(
                f"{record.id!r} is {command}, not a nested workflow with commands of its own: fork from its number"
                + (f", or fork the execution {record.id!r} itself" if command.kind == "rpc" else "")
            )
        self._copies.append(self._pending(record))
        self._copy_level(record.id, at)

    def _copy_other(self, record: PromiseView, parent: str, at: At | None) -> None:
        """Copy the marker of a patch or the mark of an attempt, if it is before the place."""
        tags = record.tags
        if tags.get(KIND) == "patch":
            if at is None or int(tags.get(AFTER, "0")) < at[0]:
                self._copy(record)
        elif tags.get(KIND) == ATTEMPT:
            step = record.id.rpartition("~")[0]
            place = self._source.numbers(step)
            outcome = None if place is None else self._source.commands(parent).get(place[-1])
            if place and (at is None or place[-1] < at[0]) and (outcome is None or outcome.pending):
                self._copy(replace(record, tags={**tags, BEGUN: _BEFORE_FORK}))

    def _copy_arguments(self, call: Value | None) -> None:
        record = self._source.arguments()
        self._copy(record if call is None else replace(record, value=call))

    def _copy_receipts(self) -> None:
        """Copy the messages that nested workflows have taken, for a fork of the fork."""
        for message in self._source.messages():
            place = message.tags.get(TAKEN)
            numbers = None if place is None else self._source.numbers(place)
            if place is not None and numbers is not None and self._is_before(numbers) and place not in self._copied:
                self._copy(as_record(place, message))

    def _copy_state(self) -> None:
        """Copy the published values of copied commands."""
        for record in self._source.others(self._source.id):
            if PUBLISHED in record.tags and record.tags.get(PUBLISHER) in self._copied:
                tags = {**record.tags, PUBLISHER: self._moved(record.tags[PUBLISHER])}
                self._copy(replace(record, tags=tags))

    # Copies

    def _copy(self, record: PromiseView) -> None:
        self._copied.add(record.id)
        tags = self._tags(record)
        if TAKEN in tags:  # the copy of a message is at the number of its command
            tags |= {TAKEN: self._moved(record.id), MESSAGE: Issued.of(record).name}
        self._copies.append(replace(record, id=self._moved(record.id), tags=tags))

    def _pending(self, record: PromiseView) -> PromiseView:
        """Return a nested workflow as pending, with as much time as it had."""
        timeout_at = min(self._now + record.timeout_at - record.created_at, self._timeout_at)
        return PromiseView(
            id=self._moved(record.id),
            state="pending",
            param=record.param,
            value=Value(),
            tags=self._tags(record),
            timeout_at=timeout_at,
            created_at=self._now,
        )

    def _tags(self, record: PromiseView) -> dict[str, str]:
        tags = {**record.tags, ORIGIN: self._new, PREFIX: self._new}
        for name in (PARENT, BRANCH):
            if name in tags:
                tags[name] = self._moved(tags[name])
        if LINK in tags:
            place = self._moved(record.id)
            tags[LINK] = self._names.own_id(self._moved_own(tags[LINK]), place, Issued.of(record).kind)
        return tags

    def _moved(self, id: str) -> str:
        own = self._source.id
        return self._new + id[len(own) :] if id == own or is_below(id, own) else id

    def _moved_own(self, id: str) -> str:
        """Return an id that a workflow has chosen. It often begins with the id of its execution."""
        return id.replace(self._source.id, self._new)

    def _warn_of(self, record: PromiseView) -> None:
        self._warnings.append(
            f"{record.id!r} is a promise that is pending: the fork waits for another one, {self._moved(record.id)!r}"
        )

    # Idempotency keys

    def _note_keys(self, record: PromiseView, *, undone: bool) -> None:
        """Note the keys that a command, and the commands below it, have had."""
        source, command, names = self._source, Issued.of(record), self._source.names
        path = record.id[len(source.id) :]
        text = f"{command.kind} {command.name}".strip()
        id = command.id or record.id
        undone = undone or (command.kind == "rpc" and self._has_undone(record.id))
        key = None if undone else id if names is None else names.key(id, record.id, text)
        entry: list[Any] = [text, key]
        if command.kind == "promise" and command.id in source.created:
            entry.append("own")
        self._keys[path] = entry
        if command.kind == "promise" and record.pending:
            self._warn_of(record)
        self._note_keys_below(record)

    def _note_keys_below(self, record: PromiseView) -> None:
        """Note the keys of a nested workflow's commands: of one that is copied, for a fork of the fork."""
        if is_local(record) and LINK not in record.tags:
            undone = self._source.undone(record.id)
            for number, each in self._source.commands(record.id).items():
                self._note_keys(each, undone=number in undone)

    def _has_undone(self, id: str) -> bool:
        """Return whether an execution that was called has undone something: then it needs new keys as a whole."""
        return bool(self._source.undone(id)) or any(
            self._has_undone(each.id) for each in self._source.commands(id).values()
        )

    def _record_of_keys(self, root: PromiseView) -> PromiseView:
        tags = {
            SCOPE: "local",
            KIND: "keys",
            PARENT: self._new,
            ORIGIN: self._new,
            BRANCH: self._new,
            PREFIX: self._new,
        }
        return PromiseView(
            id=f"{self._new}{below(self._source.generation)}{KEYS}",
            state="resolved",
            param=Value(),
            value=codec.encode(self._keys, "the keys"),
            tags=tags,
            timeout_at=root.timeout_at,
            created_at=self._now,
            settled_at=self._now,
        )


def _settled(record: PromiseView) -> int:
    return record.created_at if record.settled_at is None else record.settled_at
