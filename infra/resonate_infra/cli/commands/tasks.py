"""`resonate tasks`: show, search, halt and continue tasks."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from resonate_infra.cli.display import write_fields, write_found, write_json
from resonate_infra.cli.parameters import All, Cursor, Id, Limit
from resonate_infra.cli.session import Session, connected
from resonate_infra.cli.states import state_option
from resonate_infra.inspection.texts import instant, shown_version, task_json
from resonate_infra.text import plain
from resonate_store.model.records import Task, TaskState
from resonate_store.model.requests import PromiseGet, TaskContinue, TaskGet, TaskHalt, TaskSearch

group = typer.Typer(help="Show, halt and continue tasks.")

State = Annotated[TaskState | None, state_option(get_args(TaskState), "tasks")]


@group.command("get")
@connected
def get(session: Session, id: Id) -> None:
    """Show one task."""
    _show(session, id)


@group.command("search")
@connected
def search(
    session: Session,
    state: State = None,
    limit: Limit = 100,
    all: All = False,
    cursor: Cursor = None,
) -> None:
    """Find tasks by state. `--state halted` shows the tasks that need an operator."""

    found: list[Task] = []
    for page in session.pages(TaskSearch(state, cursor=cursor), None if all else limit):
        found += page.tasks or ()
        cursor = page.cursor

    def row(task: Task) -> list[str]:
        return [task.id, task.state, str(task.version), str(task.attempts), task.error or ""]

    columns = ("ID", "STATE", "VERSION", "ATTEMPTS", "ERROR")
    write_found(session, "tasks", found, [task_json(each) for each in found], (columns, row), cursor)


@group.command("halt")
@connected
def halt(
    session: Session,
    id: Id,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="The reason, which is stored as the task's error.")
    ] = None,
) -> None:
    """Halt a task. It is not offered to workers until it is continued."""

    session.ask(TaskHalt(id, reason=reason))
    _show(session, id)


@group.command("continue")
@connected
def continue_(session: Session, id: Id) -> None:
    """Continue a halted task. Its count of failed attempts begins again at 0."""

    session.ask(TaskContinue(id))
    _show(session, id)


def _show(session: Session, id: str) -> None:
    task = session.ask(TaskGet(id)).task
    assert task is not None
    if session.as_json:
        write_json(task_json(task))
        return
    known = session.ask(PromiseGet(id)).task if task.state == "acquired" else None  # It knows the end of the lease.
    write_fields(
        [
            ("id", plain(task.id)),
            ("state", task.state),
            ("version", str(task.version)),
            ("held by", plain(task.pid or "")),
            ("held until", "" if known is None else instant(known.expires_at)),
            ("function version", shown_version(task)),
            ("attempts", str(task.attempts)),
            ("resumes", str(task.resumes or "")),
            ("next attempt", instant(task.retry_at)),
            ("halted", instant(task.halted_at)),
            ("cancelled", "" if task.cancel is None else plain(task.cancel) or "without a reason"),
            ("error", plain(task.error or "")),
        ]
    )
