"""History of an execution: its records as a value, for assertions, files and replay tests.

A history is what the store showed of an execution's tree at one moment. It holds the root and every promise below it,
in the order in which the commands were issued. It is read through the `Store` protocol, so it can be exported from
memory, from the offline stack and from a deployment.

As JSON it is one object. `format` and `version` identify it, and `id` names the execution. `records` holds one object
for each record: the promise as the protocol shows it under `promise`, and its task, if it has one, under `task`.
Payloads stay as they are stored. A reader refuses a version that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, overload

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resonate.engine.history import Issued, independent
from resonate.errors import PayloadError, refusal
from resonate.payloads import codec
from resonate_store.documented import Documented
from resonate_store.interface import Store, whole
from resonate_store.model.ids import INBOX, below, family, generation_of
from resonate_store.model.records import PromiseState, PromiseView, Task
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import AFTER, FUNC, KIND, MESSAGE, ORIGIN, PARENT, PUBLISHED, TAKEN, TARGET

FORMAT = "resonate-history"
VERSION = 1


class HistoryFormatError(Documented, ValueError):
    """The text is not a history, or its version is not known to this release."""


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
        """The promise's state: "pending", "resolved", "rejected", "rejected_canceled" or "rejected_timedout"."""
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
        """When it was created, or the step began (ms since the epoch)."""
        return self.promise.created_at

    @property
    def timeout_at(self) -> int:
        """Its deadline (ms since the epoch)."""
        return self.promise.timeout_at

    @property
    def settled_at(self) -> int | None:
        """When it was settled (ms since the epoch); None while it is pending."""
        return self.promise.settled_at

    @property
    def command(self) -> str:
        """The command that created it: `run charge`, `rpc charge`, `a sleep` or `a promise`.

        `a retry timer` follows a failed attempt. `attempt charge` marks the attempt of a step that runs at most once.
        `patch taxes-2` is the marker of a patch. The record that begins a generation is `the arguments of generation
        2`.

        `receive chat` is a message that was received, and `message chat` one that waits. An item of the published state
        is `published progress`.
        """
        if self.begins_generation:
            return f"the arguments of generation {self.id.rpartition('.')[2].partition('+')[0]}"
        if MESSAGE in self.tags:
            return f"{'receive' if TAKEN in self.tags else 'message'} {self.tags[MESSAGE]}"
        if PUBLISHED in self.tags:
            return f"published {self.tags[PUBLISHED]}"
        is_timer = "~" in self.id.rpartition(".")[2] and KIND not in self.tags
        return "a retry timer" if is_timer else str(Issued.of(self.promise))

    @property
    def value(self) -> Any:
        """Its value as plain data if it is resolved, else None."""
        return codec.decode(self.promise.value) if self.state == "resolved" else None

    @property
    def error(self) -> BaseException | None:
        """Its error; None if it is pending or resolved."""
        return None if self.state in ("pending", "resolved") else codec.decode_error(self.promise)

    @property
    def param(self) -> Any:
        """Its param as plain data: a call, or the data of a bare promise."""
        return codec.decode(self.promise.param)

    @property
    def foreign(self) -> bool:
        """Whether it is the root of an execution that is called from this one, such as a detached call."""
        return self.tags.get(ORIGIN, self.id) == self.id and self.tags.get(PARENT, self.id) != self.id

    @property
    def begins_generation(self) -> bool:
        """Whether it has the arguments of the present history of an execution: it is not a command."""
        return family(self.id).endswith("+") and self.id.endswith("+0")

    def outcome(self) -> str:
        """Return its state in a few words, with the value or the error."""
        try:
            if self.state == "resolved":
                return f"resolved {_short(self.value)}" if self.promise.value.data else "resolved"
            if self.state == "rejected":
                return f"rejected {_short(self.error)}"
        except PayloadError:  # it is encrypted, or written with an encoder
            return f"{self.state}, {len(self.promise.value.data or '')} characters"
        if self.pending and self.task is not None:
            return f"pending, its task {self.task.state}"
        return self.state


class History(Sequence[Recorded]):
    """The records of one execution: its root first, then its commands in the order of their numbers::

        history = stack.history("trial-of-ada")
        assert history.commands == ["run send", "a sleep"]

    A record can be read by position or by id: `history["trial-of-ada.1"]`.

    Args:
        id: the execution.
        records: its records, in any order; its root must be among them.

    Raises:
        ValueError: the root is missing.
    """

    def __init__(self, id: str, records: Sequence[Recorded]) -> None:
        self.id = id
        self.records = tuple(sorted(records, key=_place))
        self._by_id = {record.id: record for record in self.records}
        if id not in self._by_id:
            raise ValueError(f"a history of {id} has to have the record of {id}")

    @property
    def root(self) -> Recorded:
        """The record of the execution itself."""
        return self._by_id[self.id]

    @property
    def generation(self) -> int:
        """The number of this history of the execution, from 1; see `Context.continue_as`."""
        return _generation_of(self.root) or 1

    @property
    def commands(self) -> list[str]:
        """The execution's own commands in order, without those of nested workflows and without retry timers."""
        below: dict[str, Recorded] = {}
        for record in self.children(self.id):
            place = record.tags.get(TAKEN, "" if {MESSAGE, PUBLISHED} & record.tags.keys() else record.id)
            if "~" not in record.id and not record.begins_generation and place.rpartition(".")[0] == self.id:
                below[place] = replace(record, promise=replace(record.promise, id=place))
        return [record.command for record in sorted(below.values(), key=_place)]

    def children(self, id: str) -> list[Recorded]:
        """Return the records directly below `id`, in order."""
        return [record for record in self.records if record.id != self.id and record.id.rpartition(".")[0] == id]

    def find(self, id: str) -> Recorded | None:
        """Return the record with the id `id`, or None."""
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
        """Return one line for each record: id, command, outcome."""
        shown = [(record.id, self._shown(record), record.outcome()) for record in self.records]
        ids, commands = (max(len(line[column]) for line in shown) for column in (0, 1))
        return [f"  {id:<{ids}}  {command:<{commands}}  {outcome}" for id, command, outcome in shown]

    def _shown(self, record: Recorded) -> str:
        if record.id != self.id:
            return record.command
        name = record.tags.get(FUNC)
        return f"execution of {name}" if name else record.command

    def to_json(self) -> str:
        """Return the history as indented JSON. Equal records give equal text."""
        document = _Document(FORMAT, VERSION, self.id, self.records)
        return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> History:
        """Return the history that `to_json` wrote as `text`.

        Raises:
            HistoryFormatError: the text is something else, or its version is not known to this release.
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
    """Return the history of an execution in a store: the promise `id` and everything below it.

    Of an execution that has continued as a new history, only the present history is included. For a detached call only
    its root is included, not the tree below it. An execution that was started independently is left out, even if its id
    begins with this id and a dot. A promise is also left out if its deadline has passed and it has not been read since
    (docs/rules.md R8).

    Args:
        store: the store.
        id: the execution.

    Raises:
        ResonateStoreError: the promise does not exist (status 404), or it may not be read.
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
            generation = _generation_of(record)
            children = store.children(record.id, below(generation))
            if generation is not None and record.task is not None and record.task.messages:
                children = [*children, *store.children(record.id, INBOX)]
            current = generation or 1
            found += (
                _recorded(store, whole(child, store))
                for child in children
                if not independent(child)
                and (generation_of(child.tags.get(TAKEN, child.id), record.id) or current) == current
            )
    return History(id, found)


def _generation_of(record: Recorded) -> int | None:
    return None if record.task is None else record.task.generation


def _recorded(store: Store, promise: PromiseView) -> Recorded:
    return Recorded(promise, store.apply(TaskGet(promise.id)).task if TARGET in promise.tags else None)


def _place(record: Recorded) -> list[tuple[int, str, int]]:
    """Return a sort key: the order in which commands were issued.

    The marks of attempts and the retry timers of a step follow it. The marker of a patch follows the command before it.
    """
    place: list[tuple[int, str, int]] = []
    parts = record.id.split(".")
    after = record.tags.get(AFTER, "")
    for part in parts[:-1] if after.isdecimal() else parts:
        number, _, attempt = part.partition("~")
        number = number.rpartition("+")[2]  # a history has one generation
        is_mark = attempt.startswith("m")
        attempt = attempt.removeprefix("m")
        # The mark of an attempt comes before the retry timer that follows the attempt.
        order = 2 * int(attempt) - is_mark if attempt.isdecimal() else 0
        place.append((int(number), "", order) if _numeric(number, attempt) else (-1, part, 0))
    if after.isdecimal():
        place.append((int(after), parts[-1], 0))
    return place


def _numeric(number: str, attempt: str) -> bool:
    return number.isdecimal() and (not attempt or attempt.isdecimal())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
