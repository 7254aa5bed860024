"""How promises, tasks and schedules are shown: as JSON for programs, or as lines and tables for people.

The JSON is the protocol's (docs/protocol.md 1.3), but payloads are decoded: `data` is the value itself where it is
stored as base64 of JSON. `--raw` leaves it as it is. People see instants in UTC and whatever could move a terminal's
cursor escaped.
"""

from __future__ import annotations

import binascii
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from resonate_infra.cli.session import Session
from resonate_infra.json_types import is_object
from resonate_infra.text import plain
from resonate_store.model import clock
from resonate_store.model.records import PromiseView, Schedule, Task, Value
from resonate_store.model.tags import ELAPSED, FUNC, SCOPE, TARGET

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "resolved": "green",
    "fulfilled": "green",
    "rejected": "red",
    "rejected_canceled": "red",
    "rejected_timedout": "red",
    "halted": "red",
    "pending": "yellow",
    "acquired": "cyan",
    "suspended": "yellow",
}
_MAX_CHARS = 80


def write_json(document: Any) -> None:
    """Write one JSON document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def console(*, error: bool = False) -> Console:
    """Where people read; lines are as long as they are when nobody does."""
    from rich.console import Console

    shown = Console(stderr=error, markup=False, emoji=False, highlight=False)
    if not shown.is_terminal:
        shown.width = 10_000
    return shown


def payload(value: Value, raw: bool) -> dict[str, Any]:
    """A payload as JSON: `headers` and `data`, each if there are any."""
    shown: dict[str, Any] = msgspec.to_builtins(value)
    if not raw and value.data is not None:
        shown["data"] = _decoded(value.data)
    return shown


def _decoded(data: str) -> Any:
    """What base64 of JSON stands for; anything else as the text that it is."""
    try:
        text = binascii.a2b_base64(data, strict_mode=True).decode()
    except ValueError:
        return data
    try:
        return json.loads(text, parse_constant=_refuse) if text else None
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def promise_json(promise: PromiseView, raw: bool) -> dict[str, Any]:
    """A promise as JSON."""
    return {
        **msgspec.to_builtins(promise),
        "param": payload(promise.param, raw),
        "value": payload(promise.value, raw),
    }


def schedule_json(schedule: Schedule, raw: bool) -> dict[str, Any]:
    """A schedule as JSON."""
    return {**msgspec.to_builtins(schedule), "promiseParam": payload(schedule.promise_param, raw)}


def task_json(task: Task) -> dict[str, Any]:
    """A task as JSON."""
    return msgspec.to_builtins(task)


def compact(value: Any) -> str:
    """A value on one line."""
    return plain(value if isinstance(value, str) and not value else json.dumps(value, ensure_ascii=False))


def shortened(text: str) -> str:
    """The beginning of a text that is too long for a line among others."""
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."


def outcome(promise: PromiseView) -> str:
    """What a settled promise came to, on one line; empty if there is nothing to tell."""
    value = payload(promise.value, False)
    if "data" not in value:
        return ""
    data = value["data"]
    return compact(data) if promise.state == "resolved" else error_text(promise.value)


def error_text(value: Value) -> str:
    """An error that is a payload, on one line."""
    data = payload(value, False).get("data")
    if is_object(data) and data.get("__type") == "error":
        return plain(f"{data.get('name') or 'error'}: {data.get('message', '')}".removesuffix(": "))
    return compact(data)


def function_of(promise: PromiseView) -> str:
    """The name of the function that the promise is a call of; empty if it is none."""

    if name := promise.tags.get(FUNC):
        return name
    if TARGET not in promise.tags and promise.tags.get(SCOPE) != "local":
        return ""
    call = payload(promise.param, False).get("data")  # the official SDKs say it there
    return str(call["func"]) if is_object(call) and "func" in call else ""


def instant(at: int | None) -> str:
    """An instant (milliseconds) in UTC; the far future, where deadlines that never come are, as `never`."""
    return "" if at is None else clock.instant(at)


def duration(milliseconds: int) -> str:
    """A duration as people say it: 12ms, 3.4s, 5m 20s, 2h 5m, 3d 4h."""
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{milliseconds / 1000:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h {seconds % 3600 // 60}m"
    return f"{seconds // 86_400}d {seconds % 86_400 // 3600}h"


def taken_ms(promise: PromiseView) -> int | None:
    """How long a settled promise was pending (ms); of a step that was recorded at its end, how long it has run."""
    if promise.settled_at is None:
        return None
    elapsed = promise.tags.get(ELAPSED, "")
    return promise.settled_at - promise.created_at + (int(elapsed) if elapsed.isdecimal() else 0)


def taken(promise: PromiseView) -> str:
    """How long a settled promise was pending; see `taken_ms`."""
    milliseconds = taken_ms(promise)
    return "" if milliseconds is None else duration(milliseconds)


def write_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Write names and texts, one below the other; a name whose text is empty is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, text in fields:
        if text:
            grid.add_row(Text(name, "dim"), Text(text, STYLES.get(text, "")))
    console().print(grid)


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Write a table, or `nothing` to the error stream where it would be empty."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print(nothing, file=sys.stderr)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(text), STYLES.get(text, "")) for text in row))
    console().print(table)


def write_promise(session: Session, promise: PromiseView) -> None:
    """Write a promise."""
    if session.as_json:
        write_json(promise_json(promise, session.raw))
        return
    param = payload(promise.param, session.raw)
    value = payload(promise.value, session.raw)
    result = outcome(promise) if "data" in value and not session.raw else _data(value)
    write_fields(
        [
            ("id", plain(promise.id)),
            ("state", promise.state),
            ("function", plain(function_of(promise))),
            ("created", instant(promise.created_at)),
            ("deadline", instant(promise.timeout_at)),
            ("settled", f"{instant(promise.settled_at)} (after {taken(promise)})" if promise.settled_at else ""),
            ("param", _data(param)),
            ("value" if promise.state in ("pending", "resolved") else "error", result),
            ("tags", "\n".join(plain(f"{name}={text}") for name, text in sorted(promise.tags.items()))),
        ]
    )


def _data(shown: dict[str, Any]) -> str:
    return compact(shown["data"]) if "data" in shown else ""


def write_found(
    session: Session, name: str, found: Sequence[Any], documents: Sequence[Any], columns: Any, cursor: str | None
) -> None:
    """Write what a search has found.

    Args:
        name: what was sought, in the plural.
        found: the records.
        documents: the same as JSON.
        columns: the columns' names, and a function that makes a row of a record.
        cursor: where to go on, if there is more.
    """
    if session.as_json:
        write_json({name: documents, "cursor": cursor})
        return
    names, row = columns
    write_table(names, [row(each) for each in found], f"no {name} found")
    if cursor is not None:
        print(f"there may be more: --limit, --all, or --cursor {cursor}", file=sys.stderr)
