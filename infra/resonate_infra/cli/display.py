"""Output of promises, tasks and schedules: JSON for programs, lines and tables for people.

The JSON is that of the protocol (docs/protocol.md 1.3), with decoded payloads. Where `data` is stored as base64 of
JSON, the output has the value itself. `--raw` shows `data` as it is stored. The output for people has instants in UTC,
and escapes characters that could move a terminal's cursor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from resonate.payloads.readable import call_in, one_line, readable
from resonate.payloads.readable import error_text as readable_error
from resonate_infra.cli.session import Session
from resonate_infra.text import plain
from resonate_store.model import clock
from resonate_store.model.records import PromiseView, Schedule, Task, Value
from resonate_store.model.tags import ELAPSED

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


def write_json(document: Any) -> None:
    """Write one JSON document to the standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def console(*, error: bool = False) -> Console:
    """Return the console for the standard output or the error stream. It wraps lines only on a terminal."""
    from rich.console import Console

    shown = Console(stderr=error, markup=False, emoji=False, highlight=False)
    if not shown.is_terminal:
        shown.width = 10_000
    return shown


def payload(value: Value, raw: bool) -> dict[str, Any]:
    """Return a payload as JSON: `headers` and `data`, each only if it exists. `raw` does not decode `data`."""
    shown: dict[str, Any] = msgspec.to_builtins(value)
    if not raw and value.data is not None:
        shown["data"] = readable(value.data)
    return shown


def promise_json(promise: PromiseView, raw: bool) -> dict[str, Any]:
    """Return a promise as JSON."""
    return {
        **msgspec.to_builtins(promise),
        "param": payload(promise.param, raw),
        "value": payload(promise.value, raw),
    }


def schedule_json(schedule: Schedule, raw: bool) -> dict[str, Any]:
    """Return a schedule as JSON."""
    return {**msgspec.to_builtins(schedule), "promiseParam": payload(schedule.promise_param, raw)}


def task_json(task: Task) -> dict[str, Any]:
    """Return a task as JSON."""
    return msgspec.to_builtins(task)


def shown_version(task: Task) -> str:
    """Return which version of a function runs a task, such as `resonate-worker:7`, or an empty text if any does."""
    if task.pinned is None:
        return ""
    return plain(task.pinned.removeprefix("lambda://")) or "the next one that takes it"


def compact(value: Any) -> str:
    """Return a value as JSON on one line. An empty string stays empty."""
    return plain(one_line(value))


def outcome(promise: PromiseView) -> str:
    """Return the value or the error of a promise on one line. Return an empty text if it has neither."""
    value = payload(promise.value, False)
    if "data" not in value:
        return ""
    data = value["data"]
    return compact(data) if promise.state == "resolved" else error_text(promise.value)


def error_text(value: Value) -> str:
    """Return the error in a payload on one line."""
    return plain(readable_error(value))


def function_of(promise: PromiseView) -> str:
    """Return the name of the function that a promise calls. Return an empty text if it is not a call."""
    return call_in(promise)[0] or ""


def instant(at: int | None) -> str:
    """Return an instant (ms) as text in UTC: `never` for a deadline in the far future, empty for None."""
    return "" if at is None else clock.instant(at)


def duration(milliseconds: int) -> str:
    """Return a duration (ms) as text such as 12ms, 3.4s, 5m 20s, 2h 5m or 3d 4h."""
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
    """Return how long (ms) a settled promise took, or None if it is pending.

    Some steps are recorded only when they end. The tag `resonate:elapsed` says how long such a step ran before.
    """
    if promise.settled_at is None:
        return None
    elapsed = promise.tags.get(ELAPSED, "")
    return promise.settled_at - promise.created_at + (int(elapsed) if elapsed.isdecimal() else 0)


def taken(promise: PromiseView) -> str:
    """Return the duration of `taken_ms` as text, empty if the promise is pending."""
    milliseconds = taken_ms(promise)
    return "" if milliseconds is None else duration(milliseconds)


def write_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Write names and texts as lines. Omit names with an empty text."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, text in fields:
        if text:
            grid.add_row(Text(name, "dim"), Text(text, STYLES.get(text, "")))
    console().print(grid)


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Write a table. If it has no rows, write `nothing` to the error stream."""
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
    """Write a promise, as JSON if the session asks for it."""
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
    """Write the results of a search.

    Args:
        session: says whether the output is JSON.
        name: the plural name of the results, such as `promises`.
        found: the records.
        documents: the records as JSON.
        columns: the names of the columns, and a function that returns the row of a record.
        cursor: where the next search continues. None if there are no more results.
    """
    if session.as_json:
        write_json({name: documents, "cursor": cursor})
        return
    names, row = columns
    write_table(names, [row(each) for each in found], f"no {name} found")
    if cursor is not None:
        print(f"there may be more: --limit, --all, or --cursor {cursor}", file=sys.stderr)
