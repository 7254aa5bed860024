"""`resonate executions`: list the root promises of executions."""

from __future__ import annotations

from typing import Annotated

import typer

from resonate_infra.cli.arguments import pairs_of
from resonate_infra.cli.commands.promises import State, find
from resonate_infra.cli.parameters import All, Cursor, Limit, Tags
from resonate_infra.cli.session import Session, connected

group = typer.Typer(help="List executions.")


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
