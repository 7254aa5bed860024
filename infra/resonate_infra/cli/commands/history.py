"""`resonate history`: export an execution's records to a file, for replay tests with `resonate.testing.replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resonate.errors import ResonateStoreError
from resonate.testing.history import export_history
from resonate_infra.cli.completion import ExecutionId
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.exits import NOT_FOUND, Failure

group = typer.Typer(help="Export the records of an execution.")


@group.command("export")
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

    try:
        text = export_history(session.store, id).to_json()
    except ResonateStoreError as error:
        raise Failure(f"there is no promise {id!r}", NOT_FOUND) if error.status == 404 else error from None
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
