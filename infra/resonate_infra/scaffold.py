"""Files of a new project: workflows, and the stack that runs them on an existing deployment.

`scaffold` copies them from `project/`. The files there are complete, so that they are linted and tested.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

FILES = ("app.py", "template.yaml", "test_app.py", "README.md")
"""Files of a project."""

DEPLOYMENT = "/resonate/resonate/"
"""Prefix of the SSM parameters in the project's template. It names a deployment with the stack name `resonate`."""


def scaffold(directory: Path, *, stack: str = "resonate") -> list[Path]:
    """Write a new project.

    Args:
        directory: the folder of the project. It is created if it does not exist.
        stack: the stack name of the deployment of Resonate Serverless.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: one of the files exists already. Nothing was written.
        ValueError: `stack` is not a valid stack name of CloudFormation.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,127}", stack):
        raise ValueError(f"{stack!r} is no name of a stack: letters, digits and hyphens, beginning with a letter")
    paths = [directory / name for name in FILES]
    taken = [str(path) for path in paths if path.exists()]
    if taken:
        raise FileExistsError(f"not overwriting {', '.join(taken)}: choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    for path in paths:
        text = files("resonate_infra").joinpath("project", path.name).read_text(encoding="utf-8")
        path.write_text(text.replace(DEPLOYMENT, f"/resonate/{stack}/"), encoding="utf-8")
    return paths
