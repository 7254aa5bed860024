"""What `resonate executions fork` and `redrive` do to one execution, and what they write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from resonate.errors import ForkError, ResonateStoreError
from resonate.operations import forking
from resonate_infra.cli.bulk import Effect
from resonate_infra.cli.completion import ExecutionId
from resonate_infra.cli.display import write_json
from resonate_infra.cli.parameters import Args, Kwargs
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.arguments import arguments_of
from resonate_infra.inspection.exits import UNREACHABLE, Failure, code_for
from resonate_infra.text import plain
from resonate_store.interface import Store

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="N",
        help="The first command that is issued anew, as `resonate tree` numbers it; 2.1 in a nested workflow.",
    ),
]

RESULTS = {
    "created": "{id} runs {source} again from command {at}; {copied} records were copied",
    "completed": "{id} was begun before, and now runs {source} again from command {at}; {copied} records were copied",
    "exists": "{id} exists already: it runs {source} again from command {at}",
}
"""What the command says about each result."""


def forked(
    session: Session,
    id: str,
    from_command: str | None,
    new_id: str | None,
    arg: Sequence[str] | None,
    kwarg: Sequence[str] | None,
) -> forking.Forked:
    """Fork an execution. The arguments are those of the command line."""
    args, kwargs = arguments_of(arg or (), kwarg or ())
    return forking.fork(
        _insistent(session),
        id,
        from_command=from_command,
        new_id=new_id,
        args=None if arg is None else args,
        kwargs=None if kwarg is None else kwargs,
        clock=session.clock,
        progress=_progress(session),
    )


def redriven(session: Session, id: str, from_command: str | None) -> forking.Forked:
    """Redrive an execution."""
    progress = _progress(session)
    return forking.redrive(_insistent(session), id, from_command=from_command, clock=session.clock, progress=progress)


def redriven_in_bulk(session: Session, id: str, from_command: str | None) -> Effect:
    """Redrive one of many executions, unless it was redriven before. Return what was done.

    Raises:
        Failure: the server cannot be reached, which ends the run.
    """
    try:
        result = forking.redrive(_insistent(session), id, from_command=from_command, once=True, clock=session.clock)
    except forking.NothingToRedrive as error:
        return Effect("skipped", error.mesg)
    except ForkError as error:
        return Effect("failed", error.mesg)
    except ResonateStoreError as error:
        if (code := code_for(error.status)) == UNREACHABLE:
            raise Failure(error.mesg, code) from None
        return Effect("skipped" if error.status == 404 else "failed", error.mesg)
    for warning in result.warnings:
        print(f"warning: {plain(warning)}", file=sys.stderr)
    return Effect("skipped" if result.result == "exists" else "done", result.id)


def _insistent(session: Session) -> Store:
    """Return the store. It repeats requests that fail in transit, because all requests of a fork can be repeated."""
    store = session.store
    session.persist()
    return store


def _progress(session: Session) -> forking.Progress:
    """Return what shows the progress on a terminal."""
    shown = sys.stderr.isatty() and not session.as_json

    def show(copied: int, all: int) -> None:
        if shown and all > 100 and copied % 100 == 0:
            print(f"\r{copied} of {all} records are copied", end="", file=sys.stderr, flush=True)

    return show


def write_forked(session: Session, forked: forking.Forked) -> None:
    """Write the result of a fork or redrive."""
    for warning in forked.warnings:
        print(f"warning: {plain(warning)}", file=sys.stderr)
    if session.as_json:
        document = {"id": forked.id, "source": forked.source, "from": forked.at, "result": forked.result}
        write_json({**document, "copied": forked.copied, "warnings": list(forked.warnings)})
        return
    said = RESULTS[forked.result]
    print(said.format(id=plain(forked.id), source=plain(forked.source), at=forked.at, copied=forked.copied))


@connected
def fork(
    session: Session,
    id: ExecutionId,
    from_command: From = None,
    new_id: Annotated[
        str | None, typer.Option("--id", metavar="NEW", help="The id of the fork. Default: ID@1, ID@2 and so on.")
    ] = None,
    arg: Args = None,
    kwarg: Kwargs = None,
) -> None:
    """Run an execution again as a new one, from one of its commands.

    The outcomes of the commands before --from are copied; without --from nothing is. Arguments that are given replace
    those of the execution. If the command was interrupted, run it again: it completes the fork.

    resonate executions fork order-1 --from 4
    """
    write_forked(session, forked(session, id, from_command, new_id, arg, kwarg))
