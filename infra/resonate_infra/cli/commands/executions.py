"""`resonate executions`: list the root promises of executions, cancel and move executions, and send them messages."""

from __future__ import annotations

from typing import Annotated

import typer

from resonate.client.messages import send as send_message
from resonate.errors import MessageError, MessagesNotSupportedError
from resonate_infra.cli.arguments import json_of, pairs_of
from resonate_infra.cli.commands.promises import State, find
from resonate_infra.cli.display import promise_json, shown_version, task_json, write_fields, write_json
from resonate_infra.cli.exits import FAILED, USAGE, Failure, code_for
from resonate_infra.cli.parameters import All, Cursor, Id, Limit, Tags
from resonate_infra.cli.session import Session, connected
from resonate_infra.text import plain
from resonate_store.model.addresses import function_of
from resonate_store.model.execution_requests import PromiseCancel, TaskRepin
from resonate_store.model.ids import random_id
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import TARGET

group = typer.Typer(help="List, cancel and move executions, and send messages to them.")

RESULTS = {
    "accepted": "accepted: the workflow gets an error where it waits, and ends after its compensating steps",
    "already": "already cancelled, and its workflow still runs: --force ends it at once",
    "canceled": "done: the execution has ended",
}
"""What the command says about each result of a cancellation."""


@group.command("list")
@connected
def list_(
    session: Session,
    state: Annotated[State | None, typer.Option("--state", help="Only executions in this state.")] = None,
    tag: Tags = None,
    limit: Limit = 20,
    all: All = False,
    cursor: Cursor = None,
) -> None:
    """List executions, the newest first."""
    find(session, state, pairs_of(tag or (), "--tag"), None, True, None if all else limit, cursor)


@group.command("cancel")
@connected
def cancel(
    session: Session,
    id: Id,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="The reason, which the workflow and people see.", show_default=False
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="End it at once. Its workflow gets no error, and compensates nothing.")
    ] = False,
) -> None:
    """Cancel an execution. Its workflow gets an error where it waits, and may run compensating steps.

    The calls that it has begun are cancelled first. Detached calls continue.
    """
    response = session.ask(PromiseCancel(id, reason, force))
    promise = response.promise
    assert promise is not None
    if not promise.pending and promise.state != "rejected_canceled":
        raise Failure(f"execution {id!r} is {promise.state} already, and stays so", FAILED)
    if session.as_json:
        write_json({"id": id, "cancel": response.cancel, "promise": promise_json(promise, session.raw)})
        return
    result = RESULTS["canceled" if not promise.pending else response.cancel or "accepted"]
    write_fields([("id", plain(id)), ("state", promise.state), ("cancellation", result)])


@group.command("repin")
@connected
def repin(
    session: Session,
    id: Id,
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


@group.command("send")
@connected
def send(
    session: Session,
    id: Id,
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
