"""`resonate lint` and `resonate explain`: check workflows without running them, and explain rules and errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from resonate_infra.explanations import explanation_of, explanations
from resonate_infra.inspection.exits import FAILED, USAGE, Failure
from resonate_infra.lint.checking import check
from resonate_infra.lint.output import as_json as json_of
from resonate_infra.lint.output import as_sarif, summary, text
from resonate_infra.lint.rules import selection
from resonate_infra.text import plain

_CODES = "CODES"


def lint(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Python files, and directories of them.")],
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar=_CODES,
            help="Apply only these rules: RS001,RS1 is one rule and a group. RS is all, with the notes.",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar=_CODES, help="Do not apply these rules.", show_default=False),
    ] = None,
    format: Annotated[
        Literal["text", "json", "sarif"], typer.Option("--format", help="The form of the output.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for scripts: --format json.")] = False,
) -> None:
    """Check workflows without running them: what a replay would not repeat, and commands that have no effect.

    The code of the files is not imported. The exit code is 0 without findings, 1 with findings, and 2 if the command
    line is wrong or a file is not Python.
    """
    if as_json and format == "sarif":
        raise Failure("--json and --format sarif are two forms: give one of both", USAGE)
    try:
        codes = selection(select or (), ignore or ())
    except ValueError as error:
        raise Failure(str(error), USAGE) from error
    try:
        checked = check(paths, codes)
    except OSError as error:
        raise Failure(f"{error.filename} cannot be read: {error.strerror}", USAGE) from error
    form = "json" if as_json else format
    shown = {"text": text, "json": json_of, "sarif": as_sarif}[form](checked)
    if shown:
        print(shown)
    for each in checked.unreadable:
        print(f"error: {plain(each.path)}:{each.line} {plain(each.message)}", file=sys.stderr)
    print(summary(checked), file=sys.stderr)
    if checked.unreadable:
        raise typer.Exit(USAGE)
    if checked.findings:
        raise typer.Exit(FAILED)


def _codes_that_begin(incomplete: str) -> list[str]:
    return [each.code for each in explanations() if each.code.lower().startswith(incomplete.lower())]


def explain(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="The name of an error's class, the code of a lint rule such as RS101, or a status such as 404.",
            autocompletion=_codes_that_begin,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")] = False,
) -> None:
    """Explain an error, a lint rule or a status: what it means, its causes, and the way out."""
    try:
        found = explanation_of(code)
    except LookupError as error:
        raise Failure(str(error), USAGE) from None
    if as_json:
        print(json.dumps(found._asdict(), indent=2, ensure_ascii=False))
    else:
        print(f"{found.title}\n\n{found.text}")
