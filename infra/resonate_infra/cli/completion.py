"""Arguments that are ids of executions, and their completion in a shell: the newest that begin with what was typed.

A completion must not disturb the shell. It makes one request, waits for at most `MOST_S` seconds, and offers nothing
without an answer.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Annotated, Any, Final

import typer

from resonate_infra.cli.session import Session

MOST_S: Final = 1.0
"""How long (s) a completion waits for the answer."""
MOST_OFFERED: Final = 20
"""How many ids a completion offers."""


def ids_of_executions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return ids of executions that begin with `incomplete`, the newest first."""
    found: list[str] = []
    # A thread, because no setting of a client bounds the time of name resolution and of all tries together.
    reader = threading.Thread(target=_read, args=(ctx, incomplete, found), daemon=True)
    reader.start()
    reader.join(MOST_S)
    return list(found)


def _read(ctx: typer.Context, incomplete: str, found: list[str]) -> None:
    from resonate_store.model.execution_requests import ExecutionSearch

    given: dict[str, Any] = ctx.find_root().obj or {}

    def option(name: str) -> Any:
        return ctx.params.get(name) or given.get(name)

    # Whatever goes wrong, such as a missing library or a malformed option, the shell must not show it.
    with contextlib.suppress(BaseException), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        session = Session(option("url"), option("table"), option("token"), as_json=False, raw=False)
        response = session.store.apply(ExecutionSearch(id=incomplete or None, limit=MOST_OFFERED))
        found += [view.promise.id for view in response.executions or ()]


ExecutionId = Annotated[
    str, typer.Argument(metavar="ID", help="The id.", show_default=False, autocompletion=ids_of_executions)
]
OptionalId = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        help="The id. Without one, the options select executions.",
        show_default=False,
        autocompletion=ids_of_executions,
    ),
]
