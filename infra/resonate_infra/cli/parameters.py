"""Options and arguments that several commands have, so that they are called and explained alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

ONE_YEAR = "365d"
"""How long an execution may take if nothing is said, as in the SDK."""

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id.", show_default=False)]
Func = Annotated[str, typer.Option("--func", "-f", metavar="NAME", help="The registered name of the function.")]
Args = Annotated[
    list[str] | None,
    typer.Option("--arg", "-a", metavar="JSON", help="A positional argument; repeat it for more.", show_default=False),
]
Kwargs = Annotated[
    list[str] | None,
    typer.Option("--kwarg", "-k", metavar="NAME=JSON", help="A named argument; may be repeated.", show_default=False),
]
Target = Annotated[
    str, typer.Option("--target", "-t", metavar="TARGET", help="Who works on it: a worker group, or an address.")
]
Version = Annotated[int, typer.Option("--version", min=1, metavar="N", help="The version of the function.")]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="SECONDS", help="How long it may take; also 90s, 15m, 12h, 7d.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=TEXT", help="A tag; may be repeated.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Show so many at most.")]
All = Annotated[bool, typer.Option("--all", help="Show all of them.")]
Cursor = Annotated[str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on where an earlier search ended.")]


def help_of(command: Callable[..., Any]) -> str:
    """The help text of a command: its docstring, each paragraph on a line, so that terminals of any width wrap it."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
