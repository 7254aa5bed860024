"""`resonate tree` and `resonate history`: show the records of an execution, and export them for replay tests."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate.errors import ResonateStoreError
from resonate.payloads.waits import shortened
from resonate_infra.cli.completion import ExecutionId
from resonate_infra.cli.display import STYLES, console, write_json
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.arguments import milliseconds_of
from resonate_infra.inspection.exits import INTERRUPTED, NOT_FOUND, USAGE, Failure
from resonate_infra.inspection.texts import (
    duration,
    function_of,
    held,
    instant,
    outcome,
    promise_json,
    shown_version,
    taken,
    taken_ms,
    task_json,
)
from resonate_infra.inspection.tree import ITEMS, TreeNode, call_tree, command_of, slept, winner_of
from resonate_infra.text import plain

if TYPE_CHECKING:
    from rich.tree import Tree

history = typer.Typer(help="Export the records of an execution.")


SHORTEST_INTERVAL_MS = 200
"""Minimum milliseconds between two reads of a tree that is watched."""
MOST_ERROR_CHARS = 400
"""Length to which the reason of a halt or of a retry is cut: its end says what to do."""


@connected
def tree(
    session: Session,
    id: ExecutionId,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it again until it has ended, or Ctrl-C.")] = False,
    interval: Annotated[
        str, typer.Option("--interval", metavar="SECONDS", help="How often --watch reads it. Also 500ms, 1m.")
    ] = "1",
) -> None:
    """Show an execution as a tree of its calls, each with state, time, attempts and outcome."""

    if watch:
        _watch(session, id, milliseconds_of(interval, "--interval"))
        return
    root = call_tree(session, id)
    if session.as_json:
        write_json(tree_json(root, session.raw))
    else:
        console().print(drawn(root, session.clock.now()))


def _watch(session: Session, id: str, interval_ms: int) -> None:
    """Show a tree until its root is settled.

    Raises:
        Failure: the promise does not exist, or the store does not answer.
        typer.Exit: Ctrl-C ended it.
    """
    if interval_ms < SHORTEST_INTERVAL_MS:
        raise Failure(f"--interval is at least {SHORTEST_INTERVAL_MS}ms, not {interval_ms}ms", USAGE)
    try:
        root = call_tree(session, id)
        session.persist()
        with _shown(session) as show:
            show(root)
            while root.pending:
                session.clock.sleep(interval_ms)
                root = call_tree(session, id)
                show(root)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def _shown(session: Session) -> Generator[Callable[[TreeNode], None]]:
    """Draw a tree in place on a terminal. Otherwise write it after each change."""
    screen = console()
    if session.as_json or not screen.is_terminal:
        yield _Changes(session)
        return
    from rich.live import Live

    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:

        def show(root: TreeNode) -> None:
            if not root.pending:
                live.vertical_overflow = "visible"  # The last drawing stays, so it must be complete.
            live.update(drawn(root, session.clock.now()), refresh=True)

        yield show


class _Changes:
    """Writer of a tree whenever more than durations and leases has changed: as text, or as JSON on one line."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._latest: Any = None

    def __call__(self, root: TreeNode) -> None:
        document = tree_json(root, self._session.raw)
        steady = _without_leases(document)
        if steady == self._latest:
            return
        first, self._latest = self._latest is None, steady
        if self._session.as_json:
            print(json.dumps(document, ensure_ascii=False), flush=True)
            return
        now = self._session.clock.now()
        if not first:
            print(f"--- {instant(now)}")
        console().print(drawn(root, now))
        sys.stdout.flush()


def _without_leases(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a tree without the ends of leases, which workers extend every few seconds."""
    task = document["task"]
    steady = task and {name: value for name, value in task.items() if name != "expiresAt"}
    return {**document, "task": steady, "children": [_without_leases(child) for child in document["children"]]}


def tree_json(node: TreeNode, raw: bool) -> dict[str, Any]:
    """Return a tree as JSON: each promise with `command`, `function`, `attempts`, its `task` and its `children`."""

    promise = node.promise
    document = {
        **promise_json(promise, raw),
        "command": command_of(node),
        "function": function_of(promise) or None,
        "attempts": node.attempts,
        "generation": node.generation,
        "retryAt": node.retry_at,
        "waits": node.waits() or None,
        "interrupted": node.interrupted,
        "durationMs": taken_ms(promise),
        "task": None if node.task is None else task_json(node.task),
    }
    return {**document, "children": [tree_json(child, raw) for child in node.children]}


def drawn(node: TreeNode, now: int) -> Tree:
    """Return the tree for a terminal. Durations of pending promises end at the instant `now` (ms)."""
    from rich.tree import Tree

    shown = Tree(_line(node, node.promise.id, now), guide_style="dim")
    _draw(node, shown, now)
    return shown


def _draw(node: TreeNode, shown: Tree, now: int) -> None:
    for child in node.children:
        name = child.promise.id[len(node.promise.id) :]
        if not ITEMS.isdisjoint(child.promise.tags):  # the rest of the id says nothing to people
            name = name.partition("-")[0]
        _draw(child, shown.add(_line(child, name, now)), now)


def _line(node: TreeNode, name: str, now: int) -> Any:
    from rich.text import Text

    promise, task = node.promise, node.task
    line = Text(f"{plain(name)}  ", "bold", no_wrap=True).append(f"{plain(command_of(node))}  ", "not bold")
    line.append(promise.state, f"not bold {STYLES[promise.state]}")
    if task is not None:
        line.append(f" ({held(task)}, version {task.version})", f"not bold {STYLES[task.state]}")
    line.append(f"  {taken(promise) or 'for ' + duration(now - promise.created_at)}", "not bold dim")
    if task is not None and (version := shown_version(task)):
        line.append(f"  pinned to {version}", "not bold")
    if node.generation > 1:
        line.append(f"  generation {node.generation} ({node.generation - 1} before it)", "not bold")
    waits = shortened(plain(node.waits()), MOST_ERROR_CHARS)
    if node.attempts > 1 and not waits:
        line.append(f"  attempt {node.attempts}", "not bold")
    if waits:
        line.append(f"  {waits}", "not bold yellow")
    error = plain(task.error) if task is not None and task.error and not waits else ""
    result = plain(winner_of(promise) or slept(promise) or outcome(promise) or "")
    if shown := shortened(error, MOST_ERROR_CHARS) or shortened(result):
        line.append(f"  {shown}", f"not bold {'' if promise.state == 'resolved' else 'red'}")
    return line


@history.command("export")
@connected
def export(
    session: Session,
    id: ExecutionId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of the standard output."),
    ] = None,
) -> None:
    """Write an execution's records as JSON, for a replay test of its workflow.

    Payloads are written as they are stored. The output is JSON with or without --json.
    """
    from resonate.testing.history import export_history

    try:
        text = export_history(session.store, id).to_json()
    except ResonateStoreError as error:
        raise Failure(f"there is no promise {id!r}", NOT_FOUND) if error.status == 404 else error from None
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
