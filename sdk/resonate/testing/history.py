"""The records of an execution as a value: to assert on, to keep as a file, to replay today's code against.

A history is what the store showed of an execution's tree at one moment: the root and every promise below it, in the
order in which the commands were issued. It needs nothing but the `Store` protocol, so it can be taken from memory, from
the offline stack and from a deployment alike.

As JSON it is one object: `format` and `version` say what it is, `id` names the execution, `records` holds one object
for each record, with the promise as the protocol shows it under `promise` and the task, where there is one, under
`task`. Payloads stay as they are stored. A reader refuses a version that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, overload

import msgspec
from msgspec import Struct

from resonate.engine.history import Issued, independent
from resonate.errors import PayloadError, refusal
from resonate.payloads import codec
from resonate_store.interface import Store, whole
from resonate_store.model.records import PromiseState, PromiseView, Task
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import FUNC, ORIGIN, PARENT, TARGET

FORMAT = "resonate-history"
VERSION = 1


class HistoryFormatError(ValueError):
    """The text is no history, or one in a version that this release cannot read."""


class Recorded(Struct, frozen=True, omit_defaults=True):
    """One record of a history: a promise, and its task if it has one."""

    promise: PromiseView
    task: Task | None = None

    @property
    def id(self) -> str:
        """The promise's id."""
        return self.promise.id

    @property
    def state(self) -> PromiseState:
        """The promise's state."""
        return self.promise.state

    @property
    def pending(self) -> bool:
        """Whether it has no outcome yet."""
        return self.promise.pending

    @property
    def tags(self) -> Mapping[str, str]:
        """The promise's tags."""
        return self.promise.tags

    @property
    def created_at(self) -> int:
        """When it was created, or the step began (milliseconds since the epoch)."""
        return self.promise.created_at

    @property
    def timeout_at(self) -> int:
        """Its deadline (milliseconds since the epoch)."""
        return self.promise.timeout_at

    @property
    def settled_at(self) -> int | None:
        """When it was settled (milliseconds since the epoch); None while it is pending."""
        return self.promise.settled_at

    @property
    def command(self) -> str:
        """What made it: `run charge`, `rpc charge`, `a sleep`, `a promise`, or `a retry timer`."""
        return "a retry timer" if "~" in self.id.rpartition(".")[2] else str(Issued.of(self.promise))

    @property
    def value(self) -> Any:
        """What it was resolved with, as plain data; None for any other state."""
        return codec.decode(self.promise.value) if self.state == "resolved" else None

    @property
    def error(self) -> BaseException | None:
        """What it failed with; None if it did not fail."""
        return None if self.state in ("pending", "resolved") else codec.decode_error(self.promise)

    @property
    def param(self) -> Any:
        """What it was created with, as plain data: a call, or the data of a bare promise."""
        return codec.decode(self.promise.param)

    @property
    def foreign(self) -> bool:
        """Whether it is the root of a tree of its own, which it lends its place to (a detached call)."""
        return self.tags.get(ORIGIN, self.id) == self.id and self.tags.get(PARENT, self.id) != self.id

    def outcome(self) -> str:
        """Its state in a few words, with the value or the error."""
        try:
            if self.state == "resolved":
                return f"resolved {_short(self.value)}" if self.promise.value.data else "resolved"
            if self.state == "rejected":
                return f"rejected {_short(self.error)}"
        except PayloadError:  # written with an encoder of the program's own, or encrypted
            return f"{self.state}, {len(self.promise.value.data or '')} characters"
        if self.pending and self.task is not None:
            return f"pending, its task {self.task.state}"
        return self.state


class History(Sequence[Recorded]):
    """The records of one execution, its root first, then its commands in the order of their numbers.

    Args:
        id: the execution.
        records: its records, in any order; the root has to be among them.

    Raises:
        ValueError: the root is missing.
    """

    def __init__(self, id: str, records: Sequence[Recorded]) -> None:
        self.id = id
        self.records = tuple(sorted(records, key=lambda record: _place(record.id)))
        self._by_id = {record.id: record for record in self.records}
        if id not in self._by_id:
            raise ValueError(f"a history of {id} has to have the record of {id}")

    @property
    def root(self) -> Recorded:
        """The record of the execution itself."""
        return self._by_id[self.id]

    @property
    def commands(self) -> list[str]:
        """What the execution's own commands were, in order: those of nested workflows and retry timers left out."""
        below = (record for record in self.children(self.id) if "~" not in record.id)
        return [record.command for record in below]

    def children(self, id: str) -> list[Recorded]:
        """The records directly below `id`, in order."""
        return [record for record in self.records if record.id != self.id and record.id.rpartition(".")[0] == id]

    def find(self, id: str) -> Recorded | None:
        """The record with this id, or None."""
        return self._by_id.get(id)

    @overload
    def __getitem__(self, key: int | str) -> Recorded: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Recorded, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Recorded | tuple[Recorded, ...]:
        return self._by_id[key] if isinstance(key, str) else self.records[key]

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, key: object) -> bool:
        return key in self._by_id if isinstance(key, str) else key in self.records

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and (self.id, self.records) == (other.id, other.records)

    def __hash__(self) -> int:
        return hash((self.id, tuple(self._by_id)))

    def __repr__(self) -> str:
        return "\n".join([f"History of {self.id}:", *self.lines()])

    def lines(self) -> list[str]:
        """One line for each record: id, command, outcome."""
        shown = [(record.id, self._shown(record), record.outcome()) for record in self.records]
        ids, commands = (max(len(line[column]) for line in shown) for column in (0, 1))
        return [f"  {id:<{ids}}  {command:<{commands}}  {outcome}" for id, command, outcome in shown]

    def _shown(self, record: Recorded) -> str:
        if record.id != self.id:
            return record.command
        name = record.tags.get(FUNC)
        return f"execution of {name}" if name else record.command

    def to_json(self) -> str:
        """The history as JSON, indented, and the same text for the same records."""
        document = _Document(FORMAT, VERSION, self.id, self.records)
        return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> History:
        """Read what `to_json` wrote.

        Raises:
            HistoryFormatError: it is something else, or was written by a release that this one does not know.
        """
        try:
            head = msgspec.json.decode(text, type=_HistoryHead)
        except msgspec.MsgspecError as error:
            raise HistoryFormatError(f"this is no history of an execution: {error}") from None
        if (head.format, head.version) != (FORMAT, VERSION):
            raise HistoryFormatError(
                f"expected a {FORMAT} in version {VERSION}, and this is {head.format!r} in version {head.version}:"
                " export it again with this release"
            )
        try:
            document = msgspec.json.decode(text, type=_Document)
            return cls(document.id, document.records)
        except (msgspec.MsgspecError, ValueError) as error:
            raise HistoryFormatError(f"the history is damaged: {error}") from None


class _HistoryHead(Struct, frozen=True):
    format: str
    version: int


class _Document(Struct, frozen=True):
    format: Literal["resonate-history"]
    version: int
    id: str
    records: tuple[Recorded, ...]


def export_history(store: Store, id: str) -> History:
    """Take the history of an execution out of a store: the promise `id` and everything below it.

    The trees of detached calls are executions of their own and are left out; their roots are there. An execution that
    was started by itself is none of it, even if its id begins with this one and a dot. A promise whose
    deadline has passed and that nobody has looked at since is left out too (docs/rules.md R8).

    Raises:
        ResonateStoreError: there is no such promise (status 404), or it may not be read.
        StoreError: the store cannot answer.
    """
    response = store.apply(PromiseGet(id))
    promise = response.promise
    if promise is None:
        reason = "The specified promise was not found" if response.status == 404 else response.error
        raise refusal(response.status, reason, {"id": id})
    found = [_recorded(store, promise)]
    for record in found:
        if record.id == id or not record.foreign:
            below = (child for child in store.children(record.id) if not independent(child))
            found += (_recorded(store, whole(child, store)) for child in below)
    return History(id, found)


def _recorded(store: Store, promise: PromiseView) -> Recorded:
    return Recorded(promise, store.apply(TaskGet(promise.id)).task if TARGET in promise.tags else None)


def _place(id: str) -> list[tuple[int, str, int]]:
    """Sorts ids as commands were issued: by number, a retry timer after the step that it belongs to."""
    place: list[tuple[int, str, int]] = []
    for part in id.split("."):
        number, _, attempt = part.partition("~")
        place.append((int(number), "", int(attempt or 0)) if _numeric(number, attempt) else (-1, part, 0))
    return place


def _numeric(number: str, attempt: str) -> bool:
    return number.isdecimal() and (not attempt or attempt.isdecimal())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
