"""A project of one's own: workflows, and the stack that runs them on an existing deployment.

The files are in `project/`, whole and working, so that they are linted, type-checked and tested like everything else.
`scaffold` copies them.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

FILES = ("app.py", "template.yaml", "test_app.py", "README.md")
"""What a project consists of."""

DEPLOYMENT = "/resonate/resonate/"
"""Where the template as it is looks for what a deployment of the name `resonate` says about itself."""


def scaffold(directory: Path, *, stack: str = "resonate") -> list[Path]:
    """Write a new project.

    Args:
        directory: where to; it is made if it does not exist.
        stack: the name of the stack with the table and the functions of `template.yaml`.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: one of the files exists already; none has been written then.
        ValueError: CloudFormation knows no such stack name.
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
