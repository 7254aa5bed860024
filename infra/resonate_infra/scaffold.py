"""Files of a new project: workflows, and the stack that runs them on an existing deployment.

`scaffold` copies them from `project/`. The files there are complete, so that they are linted and tested.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

ProjectTemplate = Literal["worker", "api"]
"""Kind of a project: a worker, or a worker and an HTTP API that starts its workflows."""

_COMMON = {
    ".gitignore": "common/gitignore.txt",
    "requirements-dev.txt": "common/requirements-dev.txt",
    "pytest.ini": "common/pytest.ini",
    ".devcontainer/devcontainer.json": "common/devcontainer.json",
    ".github/workflows/test.yml": "common/test.yml",
    "app.py": "worker/app.py",
    "test_app.py": "worker/test_app.py",
}
_OWN: dict[ProjectTemplate, tuple[str, ...]] = {
    "worker": ("template.yaml", "README.md"),
    "api": ("api.py", "template.yaml", "test_api.py", "README.md"),
}
FILES: dict[ProjectTemplate, dict[str, str]] = {
    template: {**_COMMON, **{name: f"{template}/{name}" for name in names}} for template, names in _OWN.items()
}
"""Files of a project of each template, and where each is below `project/`."""

DEPLOYMENT = "/resonate/resonate/"
"""Prefix of the SSM parameters in the project's template. It names a deployment with the stack name `resonate`."""


def scaffold(directory: Path, *, stack: str = "resonate", template: ProjectTemplate = "worker") -> list[Path]:
    """Write a new project.

    Args:
        directory: the folder of the project. It is created if it does not exist.
        stack: the stack name of the deployment of Resonate Serverless.
        template: the kind of the project.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: one of the files exists already. Nothing was written.
        ValueError: `stack` is not a valid stack name of CloudFormation, or `template` is unknown.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,127}", stack):
        raise ValueError(f"{stack!r} is no name of a stack: letters, digits and hyphens, beginning with a letter")
    if template not in FILES:
        raise ValueError(f"{template!r} is not a template: choose {' or '.join(get_args(ProjectTemplate))}")
    paths = {directory / name: source for name, source in FILES[template].items()}
    taken = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if taken:
        raise FileExistsError(f"not overwriting {', '.join(taken)}: choose another directory")
    project = files("resonate_infra").joinpath("project")
    for path, source in paths.items():
        text = project.joinpath(*source.split("/")).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace(DEPLOYMENT, f"/resonate/{stack}/"))
    return list(paths)
