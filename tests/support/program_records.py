"""What random programs (`tests.support.programs`) leave behind, as it is seen from outside."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from resonate.payloads import codec
from resonate_store.interface import Store
from resonate_store.model.ids import generation_of
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import Record, SettledState, Value
from resonate_store.model.requests import PromiseSettle
from resonate_store.model.tags import DELAY, FUNC, KIND, LINK, MESSAGE, PARENT, PUBLISHED, SCOPE, TAKEN, TARGET, TIMER

OVERDUE = "overdue"
"""Tag of a call that is ended from outside: what happens below it depends on when."""
UNSURE = "unsure"
"""Tag of a step whose outcome depends on faults, and the beginning of the key of an action that may stay undone."""


def intervene(store: Store, records: Iterable[Record]) -> bool:
    """Send the messages and settle the promises that programs wait for; return whether there was any."""
    requests = interventions(records)
    for request in requests:
        response = store.apply(request)
        # The receiver may have been cancelled.
        assert response.ok or (isinstance(request, MessageSend) and response.status == 410), response
    return bool(requests)


def interventions(records: Iterable[Record]) -> list[MessageSend | PromiseSettle]:
    """The requests of clients: messages, each sent twice, and settlements."""
    found: list[MessageSend | PromiseSettle] = []
    for record in records:
        tags = record.tags
        if not record.pending or tags.get(SCOPE) != "global" or {TARGET, TIMER, DELAY, MESSAGE} & tags.keys():
            continue
        data = codec.decode(record.param)
        if "send" in data:
            value = codec.encode(f"from outside: {record.id}", "a value")
            found += [MessageSend(data["send"]["to"], data["send"]["name"], record.id, value)] * 2
        state: SettledState | None = data.get("settle")
        if state == "resolved":
            found.append(PromiseSettle(record.id, state, codec.encode(f"from outside: {record.id}", "a value")))
        elif state is not None:
            found.append(PromiseSettle(record.id, state, codec.encode_error(ValueError(f"not today: {record.id}"))))
    return found


def plain(result: Any) -> str:
    """A result without what may differ between two executions: how often a step has run, and instants."""
    return re.sub(r"#\d+|\b\d{10}\.\d+\b|\b\d{4}-\d\d-\d\dT[\d:.]+Z", "", str(result))


def unfinished(records: Iterable[Record], now: int) -> list[str]:
    """The ids of the promises that are waited for, and of the tasks that are not over.

    A process that ends while it cancels a branch may leave promises below it, for which no workflow waits.
    """
    known = list(records)
    ended = tuple(f"{record.id}." for record in known if OVERDUE in record.tags and not record.pending)
    return [
        record.id
        for record in known
        if (
            record.pending
            and record.timeout_at > now
            and MESSAGE not in record.tags
            and not record.id.startswith(ended)
        )
        or (record.task is not None and record.task.state != "fulfilled")
    ]


def shape(records: Iterable[Record]) -> dict[str, tuple[str, str]]:
    """What an execution leaves behind: state and value of each promise, without what depends on time.

    A promise without a waiter may be due, and the store has not written that. Whether a command that names a promise
    leaves a link to it depends on whether a workflow that is not replayed any more has named it, too.
    """
    known = {record.id: record for record in _present(records)}
    maps = [id for id, record in known.items() if record.tags.get(FUNC) == "map"]
    stopped = tuple(f"{id}." for id in maps if known[id].state != "resolved" or _content(known[id])["failures"])
    overdue = tuple(f"{id}." for id, record in known.items() if OVERDUE in record.tags)
    return {
        id: ("rejected_timedout" if record.pending else record.state, plain(_content(record)))
        for id, record in known.items()
        # The arguments of a generation name its function, which has another name in each spelling.
        if not ("~" in id or id.endswith("+0") or LINK in record.tags or id.startswith(overdue))
        # Which promise was first depends on time, and so does whether a timer was still needed.
        if not {KIND, TIMER, UNSURE} & record.tags.keys()
        if id not in maps and not id.startswith(stopped)
    }


def contradictions(records: Iterable[Record]) -> dict[str, set[str]]:
    """The outcomes of which more than one version is known. A workflow has seen each version."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for record in _present(records):
        if "~" in record.id:
            continue
        for outcome, run in re.findall(r"(\S+ (?:done|failed))#(\d+)", str(_content(record))):
            seen[outcome.lstrip("[('\"")].add(run)
    return {outcome: runs for outcome, runs in seen.items() if len(runs) > 1}


def miscompensated(records: Iterable[Record]) -> list[str]:
    """The keys of actions that were undone twice or before they had ended, or that a failure has left as they are.

    A workflow that timed out, or a branch that its workflow has cancelled, runs nothing any more.
    """
    known = {record.id: record for record in _present(records)}
    undone: defaultdict[str, list[Record]] = defaultdict(list)
    acted: dict[str, Record] = {}
    for record in known.values():
        if record.tags.get(FUNC) not in ("act", "undo"):
            continue
        verb, _, rest = str(_content(record)).partition(" ")
        key = rest.partition(" ")[0]
        if verb == "undo":
            undone[key].append(record)
        elif verb == "act":
            acted[key] = record
    wrong = [key for key, undos in undone.items() if len(undos) > 1]
    for key, action in acted.items():
        caller = known[action.tags[PARENT]]
        undos = undone[key]
        owed = caller.state == "rejected" or (
            caller.state == "rejected_canceled" and codec.INTERRUPTED in (_value(caller).headers or ())
        )
        if (owed and not undos and not key.startswith(UNSURE)) or any(
            each.created_at < (action.settled_at or 0) for each in undos
        ):
            wrong.append(key)
    return wrong


def _present(records: Iterable[Record]) -> Iterator[Record]:
    """The records without those of earlier generations, which are deleted at any time."""
    known = list(records)
    generations = {record.id: record.generation for record in known if record.generation is not None}
    for record in known:
        place = record.tags.get(TAKEN, record.id)
        above = [id for id in generations if place.startswith(f"{id}.")]
        if all((generation_of(place, id) or generations[id]) == generations[id] for id in above):
            yield record


def _content(record: Record) -> Any:
    """What is recorded: the result, or the error."""
    if {MESSAGE, PUBLISHED} & record.tags.keys():
        return codec.decode(record.param), record.tags.get(TAKEN)
    if record.state == "resolved":
        return codec.decode(record.value)
    if record.state == "rejected_canceled":
        return ""
    promise = record.promise()
    return repr(codec.decode_error(replace(promise, state="rejected_timedout") if record.pending else promise))


def _value(record: Record) -> Value:
    assert isinstance(record.value, Value)
    return record.value
