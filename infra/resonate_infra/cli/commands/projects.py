"""`resonate init`: write a new project."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from resonate_infra.cli.display import write_json
from resonate_infra.inspection.exits import FAILED, USAGE, Failure
from resonate_infra.scaffold import ProjectTemplate, scaffold
from resonate_infra.text import plain


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory. It is created if it does not exist.")
    ],
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="The stack name of the deployment that will run it.")
    ] = "resonate",
    template: Annotated[
        ProjectTemplate,
        typer.Option(help="`worker`: workflows and their function. `api`: also an HTTP API that starts them."),
    ] = "worker",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")] = False,
) -> None:
    """Write a new project: workflows, tests that pass, and a template that adds them to a deployment.

    It has a development container and a workflow of GitHub that runs its tests. Files that exist are not overwritten.
    """

    try:
        paths = scaffold(directory, stack=stack, template=template)
    except ValueError as error:
        raise Failure(str(error), USAGE) from error
    except OSError as error:  # Also if a file exists already.
        raise Failure(str(error), FAILED) from error
    if as_json:
        write_json({"directory": str(directory), "files": [str(path) for path in paths]})
        return
    for path in paths:
        print(plain(str(path)))
    if find_spec("pytest") is None:
        print("the project's tests need pytest: pip install pytest", file=sys.stderr)
