"""`resonate dev` in a process of its own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import environments
from tests.support.server_api import Api

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) +\S.*")


class Process(environments.Process):
    """`resonate dev` in a process of its own."""

    def __init__(self, *arguments: str, limit: str | None = None, cwd: Path = environments.ROOT) -> None:
        command = ["env", "-u", "RESONATE_GROUPS", sys.executable, "-m", "resonate_infra.cli", "dev", *arguments]
        if limit is not None:
            command = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command]
        super().__init__(command, cwd, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))

    def api(self) -> Api:
        """A client, once it listens."""
        match = re.search(r"listening on (http://\S+:\d+), promises are in", self.line())
        assert match is not None, self.lines
        return Api(match[1])


@contextmanager
def started(*arguments: str, limit: str | None = None, cwd: Path = environments.ROOT) -> Iterator[Process]:
    process = Process(*arguments, limit=limit, cwd=cwd)
    try:
        yield process
    finally:
        process.kill()
