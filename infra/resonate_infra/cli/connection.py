"""Options that name the server or the table, and those of the output. All commands share them.

This module needs Typer alone, so that the command line starts fast. `session` has what the options lead to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from resonate_infra.inspection.exits import USAGE, Failure

_PANEL = "Connection and output"
OPTIONS: dict[str, tuple[Any, Any]] = {
    "url": (
        Annotated[
            str | None,
            typer.Option(
                "--url",
                metavar="URL",
                rich_help_panel=_PANEL,
                help="The Resonate server. Default: RESONATE_URL, or http://localhost:8001.",
            ),
        ],
        None,
    ),
    "table": (
        Annotated[
            str | None,
            typer.Option(
                "--table",
                metavar="NAME",
                rich_help_panel=_PANEL,
                help="The DynamoDB table, instead of a server. Default: RESONATE_TABLE.",
            ),
        ],
        None,
    ),
    "token": (
        Annotated[
            str | None,
            typer.Option(
                "--token",
                metavar="JWT",
                rich_help_panel=_PANEL,
                help="The token for the server. Default: RESONATE_TOKEN.",
            ),
        ],
        None,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", rich_help_panel=_PANEL, help="Write JSON, for scripts.")],
        False,
    ),
    "raw": (
        Annotated[
            bool, typer.Option("--raw", rich_help_panel=_PANEL, help="Show payloads as they are stored, not decoded.")
        ],
        False,
    ),
}

WITHOUT = ("dev", "explain", "init", "lint")
"""Commands that do not connect to promises."""


def shared_parameters() -> list[inspect.Parameter]:
    """Return the parameters of a command that get these options."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]


def before_commands(callback: Callable[..., None]) -> Callable[..., None]:
    """Decorate the callback of the whole command line, so that these options may also be given before the command.

    A command without these options refuses them.
    """
    signature = inspect.signature(callback, eval_str=True)
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *signature.parameters.values(), *shared_parameters()]

    def run(ctx: typer.Context, **given: Any) -> None:
        in_front = {name: given.pop(name) for name in OPTIONS}
        said = [name for name, value in in_front.items() if value]
        if said and ctx.invoked_subcommand in WITHOUT:
            option = "--json" if said[0] == "as_json" else f"--{said[0]}"
            raise Failure(f"{option} does not belong before {ctx.invoked_subcommand}: it has options of its own", USAGE)
        ctx.obj = in_front
        callback(**given)

    run.__name__, run.__doc__, run.__module__ = callback.__name__, callback.__doc__, callback.__module__
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
