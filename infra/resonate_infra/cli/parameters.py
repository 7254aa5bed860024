"""Options and arguments that several commands share, so that their names and help texts are the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

ONE_YEAR = "365d"
"""Default timeout of an execution, as in the SDK."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The id.", show_default=False)]
Func = Annotated[str, typer.Option("--func", "-f", metavar="NAME", help="The registered name of the function.")]
Args = Annotated[
    list[str] | None,
    typer.Option("--arg", "-a", metavar="JSON", help="A positional argument. Repeat it for more.", show_default=False),
]
Kwargs = Annotated[
    list[str] | None,
    typer.Option(
        "--kwarg", "-k", metavar="NAME=JSON", help="A named argument. Repeat it for more.", show_default=False
    ),
]
Target = Annotated[
    str, typer.Option("--target", "-t", metavar="TARGET", help="The worker group or the address that runs it.")
]
Version = Annotated[int, typer.Option("--version", min=1, metavar="N", help="The version of the function.")]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="SECONDS", help="How long it may take. Also 90s, 15m, 12h, 7d.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=TEXT", help="A tag. Repeat it for more.", show_default=False),
]
OfFunction = Annotated[
    str | None,
    typer.Option("--func", "-f", metavar="NAME", help="Only executions of this function.", show_default=False),
]
Prefix = Annotated[
    str | None, typer.Option("--id", metavar="PREFIX", help="Only ids with this prefix.", show_default=False)
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only executions created from this time on: 24h, 7d, or 2026-12-01T09:00Z.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only executions created before this time.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Show at most this many.")]
All = Annotated[bool, typer.Option("--all", help="Show all, without a limit.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="Continue where an earlier search ended.")
]


def help_of(command: Callable[..., Any]) -> str:
    """Return the help text of a command: its docstring, with each paragraph on one line for terminals of any width."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
