"""`resonate executions`: list, show, count, cancel, fork, redrive, delete, retry and move executions, and messages."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import msgspec
import typer

from resonate.client.messages import send as send_message
from resonate.errors import MessageError, MessagesNotSupportedError
from resonate.executions import shown
from resonate.payloads import waits
from resonate_infra.cli.bulk import DryRun, Effect, Resume, Yes, run_bulk
from resonate_infra.cli.commands.deletion import deleted, write_deleted
from resonate_infra.cli.commands.forks import From, fork, redriven, redriven_in_bulk, write_forked
from resonate_infra.cli.completion import ExecutionId, OptionalId
from resonate_infra.cli.display import write_fields, write_found, write_json
from resonate_infra.cli.parameters import (
    All,
    Cursor,
    Limit,
    OfFunction,
    Prefix,
    Since,
    Tags,
    Until,
)
from resonate_infra.cli.selection import States, is_selected, selection_of
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.arguments import instant_of, json_of
from resonate_infra.inspection.exits import FAILED, UNREACHABLE, USAGE, Failure, code_for
from resonate_infra.inspection.texts import duration, instant, promise_json, shown_version, task_json
from resonate_infra.inspection.waiting import task_of
from resonate_infra.text import plain
from resonate_store.model.addresses import function_of
from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionGet,
    ExecutionRetry,
    ExecutionSearch,
    ExecutionView,
    PromiseCancel,
    TaskRepin,
)
from resonate_store.model.ids import random_id
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import TARGET

group = typer.Typer(help="List, cancel, retry, fork, delete and move executions, and send messages to them.")
group.command("fork")(fork)

RESULTS = {
    "accepted": "accepted: the workflow gets an error where it waits, and ends after its compensating steps",
    "already": "already cancelled, and its workflow still runs: --force ends it at once",
    "canceled": "done: the execution has ended",
}
"""What the command says about each result of a cancellation."""
PARTS_OF_PENDING = ("running", "waiting", "retrying", "halted")
"""The states whose sum is `pending`."""
MOST_PAGES = 20
"""How many pages without enough results are read before the list ends with a cursor."""


@group.command("list")
@connected
def list_(
    session: Session,
    state: States = None,
    func: OfFunction = None,
    tag: Tags = None,
    id: Prefix = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    all: All = False,
    cursor: Cursor = None,
) -> None:
    """List executions, the newest first.

    The state "failed" means rejected or timed out. Pending executions are "running", "waiting", "retrying" or "halted".
    """
    search = msgspec.structs.replace(selection_of(session, state, func, tag, id, since, until), cursor=cursor)
    found: list[ExecutionView] = []
    for number, page in enumerate(session.pages(search, None if all else limit), 1):
        found += page.executions or ()
        cursor = page.cursor
        if number == MOST_PAGES and not all:
            break
    columns = ("ID", "STATE", "FUNCTION", "CREATED", "TOOK", "WAITS OR ERROR")
    write_found(session, "executions", found, [_json(session, view) for view in found], (columns, _row), cursor)


@group.command("get")
@connected
def get(session: Session, id: ExecutionId) -> None:
    """Show one execution: its state, its attempts, and what it waits for."""
    found = session.ask(ExecutionGet(id)).executions
    assert found
    view = found[0]
    if session.as_json:
        write_json(_json(session, view))
        return
    execution = shown(view)
    took = "" if execution.duration_ms is None else f" (after {duration(execution.duration_ms)})"
    write_fields(
        [
            ("id", plain(execution.id)),
            ("state", execution.status),
            ("function", plain(execution.function or "")),
            ("version", "" if execution.version is None else str(execution.version)),
            ("target", plain(execution.target or "")),
            ("created", instant(execution.created_at)),
            ("deadline", instant(execution.timeout_at)),
            ("settled", f"{instant(execution.settled_at)}{took}" if execution.settled_at else ""),
            ("attempts", str(execution.attempts or "")),
            ("error", plain(execution.error or "")),
            ("waits", plain(execution.waits)),
            ("tags", "\n".join(plain(f"{name}={text}") for name, text in sorted(execution.tags.items()))),
        ]
    )


@group.command("count")
@connected
def count(session: Session, since: Since = None, until: Until = None) -> None:
    """Count the executions in each state. The indented states are parts of "pending".

    A number with a plus is a lower bound. A state is left out if too many executions would have to be read.
    """
    now = session.clock.now()
    request = ExecutionCount(instant_of(since, "--since", now), instant_of(until, "--until", now))
    counts = session.ask(request).counts
    assert counts is not None
    if session.as_json:
        write_json(msgspec.to_builtins(counts))
        return
    numbers = [(name, getattr(counts, name)) for name in counts.__struct_fields__ if name != "at_least"]
    write_fields(
        (f"  {name}" if name in PARTS_OF_PENDING else name, f"{number}{'+' * (name in counts.at_least)}")
        for name, number in numbers
        if number is not None
    )


@group.command("cancel")
@connected
def cancel(
    session: Session,
    id: OptionalId = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="The reason, which the workflow and people see.", show_default=False
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="End it at once. Its workflow gets no error, and compensates nothing.")
    ] = False,
    state: States = None,
    func: OfFunction = None,
    tag: Tags = None,
    prefix: Prefix = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    resume: Resume = None,
) -> None:
    """Cancel an execution, or all that the options select. Its workflow gets an error where it waits, and may
    run compensating steps.

    The calls that it has begun are cancelled first. Detached calls continue. Executions that have ended are skipped.
    """
    search = selection_of(session, state, func, tag, prefix, since, until)
    if id is None:

        def one(id: str) -> Effect:
            response = session.store.apply(PromiseCancel(id, reason, force))
            if response.promise is None:
                return _refused(response.status, response.error)
            canceled = response.promise.pending or response.cancel is not None
            return Effect("done", response.cancel or "") if canceled else Effect("skipped", response.promise.state)

        options = " ".join((*((f"--reason {shlex.quote(reason)}",) if reason else ()), *("--force",) * force))
        run_bulk(session, "cancel", search, one, dry_run=dry_run, yes=yes, resume=resume, begun=options)
        return
    _alone(search, dry_run, resume)
    response = session.ask(PromiseCancel(id, reason, force))
    promise = response.promise
    assert promise is not None
    if not promise.pending and promise.state != "rejected_canceled":
        raise Failure(f"execution {id!r} is {promise.state} already, and stays so", FAILED)
    if session.as_json:
        write_json({"id": id, "cancel": response.cancel, "promise": promise_json(promise, session.raw)})
        return
    result = RESULTS["canceled" if not promise.pending else response.cancel or "accepted"]
    if (task := task_of(session, promise)) is not None and task.state == "halted":
        result = f"{response.cancel or 'accepted'}, but its task is halted: nothing happens before "
        result += f"`resonate tasks continue {plain(id)}`; --force ends it at once"
    write_fields([("id", plain(id)), ("state", promise.state), ("cancellation", result)])


@group.command("delete")
@connected
def delete(
    session: Session,
    id: OptionalId = None,
    force: Annotated[bool, typer.Option("--force", help="Cancel it first if it is pending.")] = False,
    state: States = None,
    func: OfFunction = None,
    tag: Tags = None,
    prefix: Prefix = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    resume: Resume = None,
) -> None:
    """Delete an execution that has ended, and everything below it, or all that the options select.

    Detached calls are not deleted, nor are executions that it has started with ids of their own.
    """
    search = selection_of(session, state, func, tag, prefix, since, until)
    if id is not None:
        _alone(search, dry_run, resume)
        write_deleted(session, id, force)
        return

    def one(id: str) -> Effect:
        response = deleted(session, id, force)
        if response.status == 404:
            return Effect("skipped", "deleted already")
        return Effect("done") if response.ok else _refused(response.status, response.error)

    options = " ".join(("--force",) * force)
    run_bulk(session, "delete", search, one, dry_run=dry_run, yes=yes, resume=resume, begun=options)


@group.command("retry-now")
@connected
def retry_now(
    session: Session,
    id: OptionalId = None,
    state: States = None,
    func: OfFunction = None,
    tag: Tags = None,
    prefix: Prefix = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    resume: Resume = None,
) -> None:
    """End the pause before the next attempt of an execution or of its steps, or of all that the options select.

    Executions that do not wait for an attempt are skipped. A call with a task of its own is retried by its own id.
    """
    search = selection_of(session, state, func, tag, prefix, since, until)
    if id is not None:
        _alone(search, dry_run, resume)
        ended = session.ask(ExecutionRetry(id)).count or 0
        if session.as_json:
            write_json({"id": id, "retried": ended})
        elif ended:
            print(f"{plain(id)} is retried now")
        if not ended:
            raise Failure(f"nothing of {id!r} waits for its next attempt: `executions get` shows what it waits for")
        return

    def one(id: str) -> Effect:
        response = session.store.apply(ExecutionRetry(id))
        if not response.ok:
            return _refused(response.status, response.error)
        return Effect("done") if response.count else Effect("skipped", "it waits for no attempt")

    run_bulk(session, "retry-now", search, one, dry_run=dry_run, yes=yes, resume=resume)


@group.command("repin")
@connected
def repin(
    session: Session,
    id: ExecutionId,
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="V",
            help="The version, such as 9, or resonate-worker:9 if the execution has no function yet. By default, the"
            " version that takes it next.",
        ),
    ] = None,
    unpin: Annotated[
        bool, typer.Option("--unpin", help="Pin it to no version. It then always takes the code of its target.")
    ] = False,
) -> None:
    """Move an execution to another version of its Lambda function, and continue it if it is halted.

    The new version must fit the history of the execution. Its calls are executions of their own, and are not moved.
    """
    if version is not None and unpin:
        raise Failure("--version and --unpin exclude each other", USAGE)
    pinned = "" if version is None else _address_of(session, id, version)
    task = session.ask(TaskRepin(id, pinned, unpin)).task
    assert task is not None
    if session.as_json:
        write_json(task_json(task))
        return
    write_fields([("id", plain(id)), ("state", task.state), ("function version", shown_version(task))])


def _address_of(session: Session, id: str, version: str) -> str:
    """Return the address of a version of the function that runs an execution.

    Args:
        session: knows the execution.
        id: the execution.
        version: its number, or the name of the function, a colon and the number.
    """
    function, colon, number = version.rpartition(":")
    if not colon:
        task, promise = session.ask(TaskGet(id)).task, session.ask(PromiseGet(id)).promise
        assert task is not None
        assert promise is not None
        target = promise.tags.get(TARGET, "")
        address = task.pinned or target
        function = function_of(address) if address.startswith("lambda://") else ""
        if not function:
            raise Failure(
                f"execution {id!r} has no version, and its target {target!r} names no function: name it, such as"
                f" --version resonate-worker:{version}",
                USAGE,
            )
    return f"lambda://{function}:{number}"


@group.command("redrive")
@connected
def redrive(
    session: Session,
    id: OptionalId = None,
    from_command: From = None,
    state: States = None,
    func: OfFunction = None,
    tag: Tags = None,
    prefix: Prefix = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    resume: Resume = None,
) -> None:
    """Run a failed execution again from the command that failed, as ID@1, ID@2 and so on; or all that the options
    select.

    If no command is surely to blame, --from is needed. If the command was interrupted, run it again. Of the selected
    executions, those that have not failed are skipped, and those that were redriven before.
    """
    search = selection_of(session, state, func, tag, prefix, since, until)
    if id is not None:
        _alone(search, dry_run, resume)
        write_forked(session, redriven(session, id, from_command))
        return
    options = "" if from_command is None else f"--from {from_command}"

    def one(id: str) -> Effect:
        return redriven_in_bulk(session, id, from_command)

    run_bulk(session, "redrive", search, one, dry_run=dry_run, yes=yes, resume=resume, begun=options)


@group.command("send")
@connected
def send(
    session: Session,
    id: ExecutionId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that the execution receives it by.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value, as JSON.")] = "null",
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="TEXT", help="The idempotency key. By default each call sends another message."),
    ] = None,
) -> None:
    """Send a message to a running execution, which takes it by ctx.receive(NAME)."""
    payload = json_of(value, "VALUE")
    try:
        message = send_message(session.store, id, name, payload, key or random_id(), compared=key is not None)
    except MessageError as error:
        raise Failure(f"the message is not accepted: {error.mesg}", code_for(error.status)) from None
    except (MessagesNotSupportedError, ValueError) as error:
        raise Failure(str(error), FAILED) from None
    if session.as_json:
        write_json(promise_json(message, session.raw))
    else:
        print(f"{plain(id)} has accepted the message {plain(name)}")


def _json(session: Session, view: ExecutionView) -> dict[str, Any]:
    """Return an execution as JSON: its promise, and what the list shows of it."""
    execution = shown(view)
    return {
        **promise_json(view.promise, session.raw),
        "status": view.status,
        "function": execution.function,
        "attempts": execution.attempts,
        "error": execution.error,
        "waits": execution.waits or None,
        "task": None if view.task is None else task_json(view.task),
        "shortened": view.shortened,
    }


def _row(view: ExecutionView) -> list[str]:
    execution = shown(view)
    return [
        execution.id,
        execution.status,
        execution.function or "",
        instant(execution.created_at),
        "" if execution.duration_ms is None else duration(execution.duration_ms),
        waits.of_execution(view, short=True) or waits.shortened(execution.error or ""),
    ]


def _alone(search: ExecutionSearch, dry_run: bool, resume: object) -> None:
    if is_selected(search) or dry_run or resume is not None:
        raise Failure("give an ID, or options that select executions, not both", USAGE)


def _refused(status: int, error: str | None) -> Effect:
    """Return the refusal of one execution. A store that cannot be reached ends the run."""
    code = code_for(status)
    if code == UNREACHABLE:
        raise Failure(str(error), code)
    return Effect("failed", str(error))
