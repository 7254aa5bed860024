"""Real processes for the tests of real clients: the development server, and whatever talks to it."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import urllib3

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""How long anything may take on a busy machine (s)."""


class Process:
    """A process whose lines are read as they come; its errors are among them."""

    def __init__(self, command: Sequence[str | Path], cwd: Path = ROOT, **environment: str) -> None:
        self.lines: list[str] = []
        self._command = " ".join(map(str, command))
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self, start: str = "") -> str:
        """Wait for a line that begins so and return the rest of it."""
        while True:
            try:
                line = self._news.get(timeout=PATIENCE)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{self._command} did not say {start!r} but:\n" + "\n".join(self.lines))
            if line.startswith(start):
                return line.removeprefix(start).strip()

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, wait for the process to end, and return its exit code."""
        if number is not None:
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it as a crash would."""
        self.end(signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self.lines.append(line.rstrip("\n"))
                self._news.put(self.lines[-1])
        self._news.put(None)


class Surroundings:
    """A development server and its clients; `end` kills what is left of them.

    Args:
        data: the file that it keeps its promises in; in memory if not given.
        options: further arguments of the server.
    """

    def __init__(self, data: Path | None = None, *options: str | Path) -> None:
        self._port = free_port()
        self.url = f"http://localhost:{self._port}"
        self._options = options if data is None else ("--data", data, *options)
        self._processes: list[Process] = []
        self.server = self.serve()

    def serve(self) -> Process:
        """Start the server, the first time or again."""
        command = [sys.executable, "-m", "resonate_infra.cli", "dev", "--port", str(self._port), *self._options]
        self.server = self.start(*command)
        while "listening" not in self.server.line(""):
            pass
        return self.server

    def start(self, *command: str | Path, cwd: Path = ROOT, **environment: str) -> Process:
        process = Process(command, cwd, **environment)
        self._processes.append(process)
        return process

    def ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Make one request of the protocol and return the data of its answer."""
        body = json.dumps({"kind": kind, "head": {"corrId": "1", "version": "2026-04-01"}, "data": data})
        response = urllib3.request("POST", self.url, body=body, timeout=PATIENCE, retries=False)
        answer = response.json()
        assert response.status == 200, answer
        return answer["data"]

    def resolve(self, id: str, value: Any) -> None:
        """Settle a promise, as a client that encodes its values as JSON in base64."""
        data = base64.b64encode(json.dumps(value).encode()).decode()
        self.ask("promise.settle", {"id": id, "state": "resolved", "value": {"data": data}})

    def end_clients(self) -> None:
        """Kill what was started, but for the server that runs at present."""
        for process in self._processes:
            if process is not self.server:
                process.kill()
        self._processes = [self.server]

    def end(self) -> None:
        for process in self._processes:
            process.kill()
