"""`resonate invoke`: start an execution, and with `--wait` wait for its outcome.

The wait shows its progress on the error stream: the call tree on a terminal, otherwise a line for each change of the
task. The standard output has only the result.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Annotated, Any

import typer

from resonate.payloads.waits import of_task
from resonate_infra.cli.commands.tree import drawn
from resonate_infra.cli.display import console, write_json
from resonate_infra.cli.parameters import ONE_YEAR, Args, Func, Id, Kwargs, Tags, Target, Timeout, Version
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.arguments import milliseconds_of, pairs_of
from resonate_infra.inspection.calls import call, lineage
from resonate_infra.inspection.exits import FAILED, HALTED, INTERRUPTED, OUTCOMES, PENDING, USAGE, Failure
from resonate_infra.inspection.texts import function_of, instant, outcome, payload, promise_json
from resonate_infra.inspection.tree import call_tree
from resonate_infra.inspection.waiting import of_execution, read
from resonate_infra.json_types import is_object
from resonate_infra.text import plain
from resonate_store.model.backoff import Backoff
from resonate_store.model.records import PromiseView, Task, Value
from resonate_store.model.requests import PromiseCreate
from resonate_store.server_clock import deadline_in

FIRST_PAUSE_MS = 50
"""Milliseconds between the first two reads of the execution. Each later pause is 1.5 times as long."""
LONGEST_PAUSE_MS = 1_000
"""Maximum milliseconds between two reads."""

LOOK_BELOW_INTERVAL_MS = 10_000
"""Milliseconds between two reads of what the calls of a suspended execution wait for."""

Show = Callable[["PromiseView", "Task | None"], None]


@connected
def invoke(
    session: Session,
    id: Id,
    func: Func,
    arg: Args = None,
    kwarg: Kwargs = None,
    target: Target = "default",
    version: Version = 1,
    timeout: Timeout = ONE_YEAR,
    tag: Tags = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the outcome and write the result.")] = False,
    wait_timeout: Annotated[
        str | None,
        typer.Option("--wait-timeout", metavar="SECONDS", help="Wait no longer than this. The execution continues."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress while waiting.")] = False,
) -> None:
    """Start an execution: a worker runs a function durably.

    An id is invoked once. A second invocation starts nothing, and shows or waits for the existing execution.

        resonate invoke order-1 --func order --arg 30 --kwarg 'currency="EUR"' --target worker --wait
    """

    if wait_timeout is not None and not wait:
        raise Failure("--wait-timeout says how long to wait: give --wait, too", USAGE)
    patience_ms = None if wait_timeout is None else milliseconds_of(wait_timeout, "--wait-timeout")
    param, tags = call(func, arg or (), kwarg or (), version, target, pairs_of(tag or (), "--tag"))
    timeout_at = deadline_in(milliseconds_of(timeout, "--timeout"), session.store, session.clock, id)
    promise = session.ask(PromiseCreate(id, timeout_at, param, {**lineage(id), **tags})).promise
    assert promise is not None
    if function_of(promise) != func:
        other = f"a call of {function_of(promise)!r}" if function_of(promise) else "no call"
        raise Failure(f"{id!r} exists already, and is {other}: choose another id", FAILED)
    if (arg or kwarg) and _arguments(promise.param) != _arguments(param):
        print(f"{plain(id)} exists already, and was called with other arguments, which hold", file=sys.stderr)
    if wait:
        try:
            promise = _settled(session, promise, patience_ms, quiet)
        except KeyboardInterrupt:
            raise Failure(f"interrupted; {id!r} goes on, and invoking it again waits for it", INTERRUPTED) from None
    if session.as_json:
        write_json(promise_json(promise, session.raw))
    elif not wait:
        print(f"{plain(id)} is {promise.state}")
    if wait:
        _end(session, promise)


def _arguments(param: Value) -> tuple[Any, Any]:
    """Return the arguments in the param of a call, of this SDK or of another."""

    call = payload(param, False).get("data")
    return (call.get("args") or [], call.get("kwargs") or {}) if is_object(call) else (call, None)


def _end(session: Session, promise: PromiseView) -> None:
    """Write the result of the execution, or raise `Failure` with the exit code of any other outcome."""

    if promise.state == "resolved":
        if not session.as_json:
            write_json(payload(promise.value, session.raw).get("data"))
        return
    why = {
        "rejected": f"was rejected: {outcome(promise)}",
        "rejected_canceled": "was canceled",
        "rejected_timedout": f"timed out at {instant(promise.timeout_at)}",
        "pending": "is still pending; invoking it again waits on",
    }
    raise Failure(f"{promise.id!r} {why[promise.state]}".rstrip(": "), OUTCOMES.get(promise.state, PENDING))


def _settled(session: Session, promise: PromiseView, patience_ms: int | None, quiet: bool) -> PromiseView:
    """Wait until the promise is settled, or for `patience_ms`, and return it.

    Raises:
        Failure: its task is halted.
    """

    session.persist()
    clock = session.clock
    end = None if patience_ms is None else clock.now() + patience_ms
    backoff, tries = Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, factor=1.5), 0
    with _progress(session, promise.id, quiet) as show:
        while promise.pending:
            promise, task = read(session, promise.id)
            if not promise.pending:
                break
            show(promise, task)
            if task is not None and task.state == "halted":
                why = f": {task.error}" if task.error else ""
                raise Failure(
                    f"{promise.id!r} is halted{why}; `resonate tasks continue {promise.id}` lets it go on", HALTED
                )
            left = None if end is None else end - clock.now()
            if left is not None and left <= 0:
                break
            tries += 1
            pause = backoff.pause_ms(tries)
            clock.sleep(pause if left is None else min(pause, left))
    return promise


@contextlib.contextmanager
def _progress(session: Session, id: str, quiet: bool) -> Generator[Show]:
    """Show the progress on the error stream: the call tree on a terminal, otherwise lines."""
    if quiet:
        yield lambda _promise, _task: None
    elif sys.stderr.isatty():
        with _drawing(session, id) as show:
            yield show
    else:
        yield _ProgressLines(session)


class _ProgressLines:
    """Writer of a line for each change of the task or of what it waits for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._latest = ""
        self._below: tuple[int, str] = (-1, "")
        self._looked_at = 0

    def __call__(self, promise: PromiseView, task: Task | None) -> None:
        line = "pending" if task is None else f"{task.state}, version {task.version}"
        waits = of_task(promise, task)
        if task is not None and task.state == "suspended":
            waits = self._waits_below(promise, task)
        elif task is not None and task.error and not waits:
            line += f", failed attempts {task.attempts}: {task.error}"
        line += f", {waits}" if waits else ""
        if waits and task is not None and task.workers == 0:
            line += f" to {self._session.where}"
        if line != self._latest:
            self._latest = line
            print(f"{plain(promise.id)}: {plain(line)}", file=sys.stderr, flush=True)

    def _waits_below(self, promise: PromiseView, task: Task) -> str:
        """Return what the calls of a suspended execution wait for.

        It is read after each suspension and then every `LOOK_BELOW_INTERVAL_MS`.
        """

        now = self._session.clock.now()
        if self._below[0] != task.version or now - self._looked_at >= LOOK_BELOW_INTERVAL_MS:
            self._below, self._looked_at = (task.version, of_execution(self._session, promise, task)), now
        return self._below[1]


@contextlib.contextmanager
def _drawing(session: Session, id: str) -> Generator[Show]:
    from rich.live import Live

    def shown() -> Any:
        return drawn(call_tree(session, id), session.clock.now())

    with Live(console=console(error=True), auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda _promise, _task: live.update(shown(), refresh=True)
        live.update(shown(), refresh=True)
