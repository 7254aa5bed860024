"""Output of promises, tasks and schedules: JSON for programs, lines and tables for people.

The output for people escapes characters that could move a terminal's cursor. `resonate_infra.inspection.texts` makes
the texts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from resonate_infra.cli.session import Session
from resonate_infra.inspection.texts import compact, function_of, instant, outcome, payload, promise_json, taken
from resonate_infra.text import plain
from resonate_store.model.records import PromiseView

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
