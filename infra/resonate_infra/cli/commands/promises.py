"""`resonate promises`: show, create, settle and search promises."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, get_args

import typer

from resonate.payloads.codec import encode, encode_error
from resonate_infra.cli.display import write_found, write_promise
from resonate_infra.cli.parameters import ONE_YEAR, All, Cursor, Id, Limit, Tags, Timeout
from resonate_infra.cli.session import Session, connected
from resonate_infra.cli.states import state_option
from resonate_infra.inspection.arguments import json_of, milliseconds_of, pairs_of
from resonate_infra.inspection.exits import FAILED, USAGE, Failure
from resonate_infra.inspection.texts import function_of, instant, promise_json, taken
from resonate_store.model.addresses import expand
from resonate_store.model.records import EMPTY, PromiseState, PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSearch, PromiseSettle
from resonate_store.model.tags import ORIGIN, SCOPE, TARGET, TIMER
from resonate_store.server_clock import deadline_in

group = typer.Typer(help="Show, create and settle promises.")

State = Annotated[PromiseState | None, state_option(get_args(PromiseState), "promises")]
Data = Annotated[str | None, typer.Option("--data", "-d", metavar="JSON", help="The value.", show_default=False)]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Settle it even if a function runs for it, which gets no error and compensates nothing."
    ),
]


@group.command("get")
@connected
def get(session: Session, id: Id) -> None:
    """Show one promise."""

    write_promise(session, _only(session.ask(PromiseGet(id))))


@group.command("create")
@connected
def create(
    session: Session,
    id: Id,
    timeout: Timeout = ONE_YEAR,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON", help="The param.", show_default=False)
    ] = None,
    tag: Tags = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", metavar="TARGET", help="The worker group or the address that receives its task."
        ),
    ] = None,
) -> None:
    """Create a promise. If the id exists already, show its promise."""

    tags = pairs_of(tag or (), "--tag")
    if target is not None:
        tags[TARGET] = expand(target)
    timeout_at = deadline_in(milliseconds_of(timeout, "--timeout"), session.store, session.clock, id)
    write_promise(session, _only(session.ask(PromiseCreate(id, timeout_at, _value(data), tags))))


@group.command("resolve")
@connected
def resolve(session: Session, id: Id, data: Data = None, force: Force = False) -> None:
    """Resolve a promise. Workflows that wait for it continue with the value."""
    _settle(session, id, "resolved", _value(data), force)


@group.command("reject")
@connected
def reject(
    session: Session,
    id: Id,
    data: Data = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="The message of the exception in workflows that await it."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Reject a promise. Workflows that wait for it get an exception."""
    if data is not None and message is not None:
        raise Failure("a promise is rejected with --data or with --message: give one of both", USAGE)
    value = _value(data) if message is None else encode_error(Exception(message))
    _settle(session, id, "rejected", value, force)


@group.command("cancel")
@connected
def cancel(session: Session, id: Id, force: Force = False) -> None:
    """Cancel a promise. Workflows that wait for it get an exception.

    The promise of an execution or a call needs --force. No worker takes its task after that.
    """

    _settle(session, id, "rejected_canceled", EMPTY, force)


@group.command("search")
@connected
def search(
    session: Session,
    state: State = None,
    tag: Tags = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="PREFIX", help="Only ids with this prefix.", show_default=False)
    ] = None,
    roots: Annotated[bool, typer.Option("--roots", help="Only executions, the newest first.")] = False,
    limit: Limit = 100,
    all: All = False,
    cursor: Cursor = None,
) -> None:
    """Find promises by state, tags and id."""
    search = PromiseSearch(state, pairs_of(tag or (), "--tag"), id, roots, cursor=cursor)
    found: list[PromiseView] = []
    for page in session.pages(search, None if all else limit):
        found += page.promises or ()
        cursor = page.cursor

    def row(promise: PromiseView) -> list[str]:
        return [promise.id, promise.state, function_of(promise), instant(promise.created_at), taken(promise)]

    columns = ("ID", "STATE", "FUNCTION", "CREATED", "TOOK")
    documents = [promise_json(each, session.raw) for each in found]
    write_found(session, "executions" if roots else "promises", found, documents, (columns, row), cursor)


def _settle(session: Session, id: str, state: Any, value: Any, force: bool) -> None:
    if not force:
        _refuse_work(_only(session.ask(PromiseGet(id))))
    promise = _only(session.ask(PromiseSettle(id, state, value)))
    if promise.state != state or promise.value != value:
        how = "with another value" if promise.state == state else ""
        raise Failure(f"promise {id!r} is {promise.state} already {how}".rstrip() + ", and stays so", FAILED)
    write_promise(session, promise)


def _refuse_work(promise: PromiseView) -> None:
    """Refuse to settle the promise of a function that a worker runs, because its function would not notice.

    Raises:
        Failure: the promise is pending, and is an execution, a call or a step.
    """
    tags = promise.tags
    local = tags.get(SCOPE) == "local"
    if not promise.pending or tags.get(TIMER) == "true" or not (local or TARGET in tags):
        return
    origin = tags.get(ORIGIN, promise.id)
    function = function_of(promise) or f"a task for {tags.get(TARGET, 'a worker')}"
    what = "step" if local else "execution of" if origin == promise.id else "call of"
    canceled = origin if local else promise.id
    raise Failure(
        f"{promise.id!r} is the {what} {function}, whose code would not notice that it has ended:"
        f" use `resonate executions cancel {shlex.quote(canceled)}`, or give --force",
        FAILED,
    )


def _value(data: str | None) -> Any:
    if data is None:
        return EMPTY
    value = json_of(data, "--data")

    return encode(value, "--data")


def _only(response: Any) -> Any:
    assert response.promise is not None
    return response.promise
