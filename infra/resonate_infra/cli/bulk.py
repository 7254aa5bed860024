"""Operations on many executions: count, question, progress, and a journal to continue an interrupted run.

An operation is a function that takes an id and returns an `Effect`. `run_bulk` finds the ids first, so their number is
known and later executions are not touched. The ids are in a journal, a file with a line for each id that is done. A run
that was interrupted is continued with `--resume FILE`, and does nothing twice::

    run_bulk(session, "cancel", search, operation, dry_run=dry_run, yes=yes, resume=resume)

Ctrl-C lets the present operation end, and its line is written. Only if the process is killed can one operation be
repeated.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NamedTuple, TextIO

import typer

from resonate_infra.cli.display import console, write_json
from resonate_infra.cli.selection import as_options, every, is_selected
from resonate_infra.cli.session import Session
from resonate_infra.inspection.exits import FAILED, INTERRUPTED, USAGE, Failure
from resonate_infra.text import plain
from resonate_store.model.execution_requests import ExecutionSearch

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show which executions are selected, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Continue an interrupted run from its journal.", show_default=False),
]

SHOWN = 20
"""How many ids `--dry-run` shows, and how many failures are shown at the end."""


class Effect(NamedTuple):
    """What an operation has done to one execution.

    Attributes:
        kind: "done"; "skipped" if there was nothing to do; "failed" if it can be tried again.
        text: what happened, or why not.
    """

    kind: Literal["done", "skipped", "failed"]
    text: str = ""


Operation = Callable[[str], Effect]
"""Takes the id of an execution. It raises `Failure` for what ends the whole run, such as a server that is gone."""


def run_bulk(
    session: Session,
    name: str,
    search: ExecutionSearch,
    operation: Operation,
    *,
    dry_run: bool,
    yes: bool,
    resume: Path | None = None,
    begun: str = "",
) -> None:
    """Carry out an operation on all executions that a search finds, and write what was done.

    Args:
        session: where the executions are.
        name: the operation in questions and results, such as "cancel".
        search: selects the executions.
        operation: carries it out on one execution.
        dry_run: whether to show only which executions are selected.
        yes: whether to begin without a question.
        resume: the journal of an interrupted run. `search` must then have no condition.
        begun: options of the operation that the interrupted run had, and that its continuation must have too.

    Raises:
        Failure: nothing is selected by an option, the journal belongs to another operation or store, the run was
            interrupted, or an execution failed.
    """
    if resume is not None:
        if is_selected(search):
            raise Failure("--resume has the executions of its journal: give it without other selections", USAGE)
        journal = _Journal.read(session, resume, name, begun)
    else:
        if not is_selected(search):
            raise Failure(f"give the ID to {name}, or select executions: --state, --func, --since, --tag, --id", USAGE)
        ids = [view.promise.id for view in every(session, search)]
        if dry_run:
            _write_selected(session, name, ids)
            return
        if not ids:
            _write_result(session, name, {}, 0, None)
            return
        _confirm(name, ids, search, yes)
        journal = _Journal.create(session, name, begun, ids)
        print(f"if it is interrupted, --resume {shlex.quote(str(journal.path))} continues it", file=sys.stderr)
    left = journal.left
    with journal:
        interrupted = _carry_out(name, left, operation, journal, already=len(journal.ids) - len(left))
    done = len(journal.effects)
    if interrupted:
        command = ("resonate executions", name, begun, session.connection, f"--resume {shlex.quote(str(journal.path))}")
        again = " ".join(filter(None, command))
        raise Failure(f"interrupted after {done} of {len(journal.ids)}; to continue: {again}", INTERRUPTED)
    failed = journal.failed
    if not failed:
        journal.path.unlink(missing_ok=True)
    _write_result(session, name, journal.effects, len(journal.ids), journal.path if failed else None)
    if failed:
        raise Failure(
            f"{len(failed)} of {len(journal.ids)} failed, the first is {next(iter(failed))!r}:"
            f" {next(iter(failed.values())).text}; --resume {journal.path} tries them again",
            FAILED,
        )


class _Journal:
    """The ids of a run, and what has been done to each. Each line is JSON, and is written before the next one begins.

    Args:
        path: the file.
        ids: all ids of the run.
        effects: what is done already.
    """

    def __init__(self, path: Path, ids: Sequence[str], effects: dict[str, Effect]) -> None:
        self.path = path
        self.ids = ids
        self.effects = effects
        self._file: TextIO | None = None

    @classmethod
    def create(cls, session: Session, name: str, begun: str, ids: Sequence[str]) -> _Journal:
        folder = Path(typer.get_app_dir("resonate")) / "bulk"
        folder.mkdir(parents=True, exist_ok=True)
        number = session.clock.now()
        while True:
            path = folder / f"{name}-{number}.jsonl"
            try:
                file = path.open("x", encoding="utf-8")
                break
            except FileExistsError:
                number += 1
        with file:
            head = {"operation": name, "options": begun, "where": session.where, "ids": list(ids)}
            file.write(json.dumps(head) + "\n")
        return cls(path, ids, {})

    @classmethod
    def read(cls, session: Session, path: Path, name: str, begun: str) -> _Journal:
        try:
            head, *lines = path.read_text(encoding="utf-8").splitlines()
            run: dict[str, Any] = json.loads(head)
            ids: list[str] = run["ids"]
            written = (run["operation"], run["options"], run["where"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Failure(f"{path} is not the journal of an interrupted run: {error}", USAGE) from None
        if written != (name, begun, session.where):
            raise Failure(
                f"{path} belongs to `{written[0]}{written[1] and f' {written[1]}'}` at {written[2]}, and this is"
                f" `{name}{begun and f' {begun}'}` at {session.where}",
                USAGE,
            )
        effects: dict[str, Effect] = {}
        for line in lines:
            try:
                id, kind, text = json.loads(line)
            except ValueError:
                continue  # the process was killed while it wrote the line
            effects[id] = Effect(kind, text)
        return cls(path, ids, {id: effect for id, effect in effects.items() if effect.kind != "failed"})

    @property
    def left(self) -> list[str]:
        """The ids that are not done."""
        return [id for id in self.ids if id not in self.effects]

    @property
    def failed(self) -> dict[str, Effect]:
        """What has failed, by id."""
        return {id: effect for id, effect in self.effects.items() if effect.kind == "failed"}

    def note(self, id: str, effect: Effect) -> None:
        """Write what was done to one execution."""
        assert self._file is not None
        self.effects[id] = effect
        self._file.write(json.dumps([id, *effect]) + "\n")
        self._file.flush()

    def __enter__(self) -> _Journal:
        self._file = self.path.open("a", encoding="utf-8")
        if self._file.tell() and not self.path.read_bytes().endswith(b"\n"):
            self._file.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _carry_out(name: str, ids: Sequence[str], operation: Operation, journal: _Journal, already: int) -> bool:
    """Carry out the operation on each id, with a progress bar on the error stream. Return whether Ctrl-C ended it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console(error=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with _interruption() as interrupted, progress:
        bar = progress.add_task(name, total=len(ids) + already, completed=already, rate="")
        for id in ids:
            if interrupted:
                return True
            try:
                effect = operation(id)
            except Failure as failure:
                print(f"stopped at {plain(id)}; --resume {journal.path} continues", file=sys.stderr)
                raise failure from None
            journal.note(id, effect)
            speed = progress.tasks[0].speed if progress.tasks else None
            progress.update(bar, advance=1, rate=f"{speed:.{0 if speed >= 10 else 1}f}/s" if speed else "")
    return bool(interrupted) and bool(journal.left)


@contextmanager
def _interruption() -> Generator[list[int]]:
    """Collect Ctrl-C in a list, so that the present operation ends. A second one interrupts it too."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread, which alone gets signals
        yield caught
        return
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


def _confirm(name: str, ids: Sequence[str], search: ExecutionSearch, yes: bool) -> None:
    if yes:
        return
    conditions = ", ".join(f"{key}={plain(str(value))}" for key, value in as_options(search).items())
    print(f"{len(ids)} executions ({conditions}), from {plain(ids[-1])} to {plain(ids[0])}", file=sys.stderr)
    typer.confirm(f"{name} all of them?", abort=True, err=True)


def _write_selected(session: Session, name: str, ids: Sequence[str]) -> None:
    if session.as_json:
        write_json({"operation": name, "selected": len(ids), "ids": list(ids)})
        return
    for id in ids[:SHOWN]:
        print(plain(id))
    more = f", {len(ids) - SHOWN} more than shown" if len(ids) > SHOWN else ""
    print(f"{len(ids)} executions are selected{more}; nothing was done", file=sys.stderr)


def _write_result(session: Session, name: str, effects: dict[str, Effect], selected: int, path: Path | None) -> None:
    numbers = {kind: sum(effect.kind == kind for effect in effects.values()) for kind in ("done", "skipped", "failed")}
    if session.as_json:
        failures = [{"id": id, "error": effect.text} for id, effect in effects.items() if effect.kind == "failed"]
        write_json(
            {"operation": name, "selected": selected, **numbers, "failures": failures, "journal": path and str(path)}
        )
        return
    print(f"{name}: {', '.join(f'{number} {kind}' for kind, number in numbers.items())}, of {selected}")
    for id, effect in [each for each in effects.items() if each[1].kind == "failed"][:SHOWN]:
        print(f"{plain(id)}: {plain(effect.text)}", file=sys.stderr)
