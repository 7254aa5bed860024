"""The programs of an example, started by the very commands that its README shows."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.environments import PATIENCE, ROOT, Process, Surroundings

EXAMPLES = ROOT / "examples"
SERVER = "resonate dev "


def commands(example: str) -> list[str]:
    """The commands of a README, in order."""
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    sessions = [part.partition("```")[0] for part in readme.split("```console\n")[1:]]
    return [line[2:] for session in sessions for line in session.splitlines() if line.startswith("$ ")]


def command(example: str, program: str) -> str:
    """The first command that contains this text."""
    return next(each for each in commands(example) if program in each)


def server_options(example: str, **replaced: str | Path) -> list[str]:
    """The arguments that the README gives the server."""
    return [changed(part, replaced) for part in shlex.split(command(example, SERVER).removeprefix(SERVER))]


def changed(text: str, replaced: dict[str, str | Path]) -> str:
    """A text of a README with what stands for parts of it here."""
    for old, new in replaced.items():
        text = text.replace(old, str(new))
    return text


def start(
    surroundings: Surroundings, command: str, replaced: dict[str, str | Path] | None = None, **environment: str
) -> Process:
    """Run a command in a shell, as a user would, except where another port or directory has to be used.

    Args:
        surroundings: the server that it finds.
        command: as a README has it.
        replaced: what stands for which of its texts.
        environment: further environment variables.
    """
    inherited = {name: "" for name in os.environ if name.startswith(("AWS_", "RESONATE_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    variables: dict[str, Any] = {**inherited, "PATH": path, "RESONATE_URL": surroundings.url, **environment}
    return surroundings.start(
        "bash",
        "-c",
        # Without a shell in between, which would be killed in the place of its program.
        f"exec env {changed(command, replaced or {})}",
        **variables,
    )


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that no process says."""
    pause = 0.05
    for _ in range(round(PATIENCE / pause)):
        if condition():
            return
        threading.Event().wait(pause)
    raise AssertionError(f"waited for nothing: {what}")


def task_state(surroundings: Surroundings, id: str) -> str | None:
    """The state of a task, if there is one."""
    tasks = surroundings.ask("task.search", {"limit": 1000})["tasks"]
    return next((task["state"] for task in tasks if task["id"] == id), None)
