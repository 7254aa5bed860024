"""Runs command lines in this process, and says what they wrote and how they ended."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from typer.testing import CliRunner

from resonate_infra.cli.main import main

NOWHERE: dict[str, str | None] = {
    "RESONATE_URL": None,
    "RESONATE_TABLE": None,
    "RESONATE_TOKEN": None,
    "RESONATE_GROUPS": None,
    "RESONATE_TRACEBACK": None,
    "COLUMNS": None,
    "FORCE_COLOR": None,
}


class Ran:
    """What a command line has come to.

    Attributes:
        code: the exit code.
        out, err: what it wrote.
    """

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"

    @property
    def fields(self) -> dict[str, str]:
        """What was written of one record, by the names of the lines."""
        lines = [line for line in self.out.splitlines() if not line.startswith(" ")]
        return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, without its head."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()[1:]]


class CommandLine:
    """Runs commands.

    Args:
        environment: what they find in it; None for what must not be there.
    """

    def __init__(self, **environment: str | None) -> None:
        self._runner = CliRunner(env={**NOWHERE, **environment})

    def run(self, *arguments: str) -> Ran:
        """Run a command line, however it ends."""
        # Not by `invoke` of the runner, which would put all commands together anew each time.
        with self._runner.isolation() as (out, err, _), unchanged_levels():
            code = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ran(code, out.getvalue().decode(), err.getvalue().decode())

    def ok(self, *arguments: str) -> Ran:
        """Run a command line that has to succeed."""
        ran = self.run(*arguments)
        assert ran.code == 0, ran
        return ran

    def json(self, *arguments: str) -> Any:
        """Run a command line with --json, and return what it wrote."""
        return json.loads(self.ok(*arguments, "--json").out)

    def fails(self, *arguments: str) -> tuple[int, str]:
        """Run a command line that has to fail: its exit code, and the one line that it wrote of it."""
        ran = self.run(*arguments)
        assert ran.code != 0, ran
        assert ran.out == "", ran
        assert ran.err.startswith("error: "), ran
        assert ran.err.endswith("\n"), ran
        assert ran.err.count("\n") == 1, ran
        return ran.code, ran.err.removeprefix("error: ").rstrip("\n")


@contextmanager
def unchanged_levels() -> Generator[None]:
    """Let loggers be as they were: a command silences those of libraries for the rest of its process."""
    loggers = logging.root.manager.loggerDict
    before = {name: logging.getLogger(name).level for name in list(loggers)}
    try:
        yield
    finally:
        for name in list(loggers):
            logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))
