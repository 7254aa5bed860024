"""`resonate dev` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.server_api import PATIENCE, Api

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) +\S.*")


class Process:
    """`resonate dev` in a process of its own."""

    def __init__(self, *arguments: str, limit: str | None = None) -> None:
        command = [sys.executable, "-m", "resonate_infra.cli", "dev", *arguments]
        if limit is not None:
            command = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command]
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        environment.pop("RESONATE_GROUPS", None)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        # Whatever goes wrong, the test ends.
        self._watchdog = threading.Timer(4 * PATIENCE, self.process.kill)
        self._watchdog.start()
        self.lines: list[str] = []

    def line(self) -> str:
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline().rstrip("\n"))
        return self.lines[-1]

    def api(self) -> Api:
        """A client, once it listens."""
        match = re.search(r"listening on (http://\S+:\d+), promises are in", self.line())
        assert match is not None, self.lines
        return Api(match[1])

    def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code, all lines read."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait()

    def close(self) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def started(*arguments: str, limit: str | None = None) -> Iterator[Process]:
    process = Process(*arguments, limit=limit)
    try:
        yield process
    finally:
        process.close()
