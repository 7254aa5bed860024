"""`resonate executions`: list the root promises of executions, and send messages to them."""

from __future__ import annotations

from typing import Annotated

import typer

from resonate.client.messages import send as send_message
from resonate.errors import MessageError, MessagesNotSupportedError
from resonate_infra.cli.arguments import json_of, pairs_of
from resonate_infra.cli.commands.promises import State, find
from resonate_infra.cli.display import promise_json, write_json
from resonate_infra.cli.exits import FAILED, Failure, code_for
from resonate_infra.cli.parameters import All, Cursor, Id, Limit, Tags
from resonate_infra.cli.session import Session, connected
from resonate_infra.text import plain
from resonate_store.model.ids import random_id

group = typer.Typer(help="List executions, and send messages to them.")


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
