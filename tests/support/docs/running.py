"""Runs the blocks of a page from top to bottom, in one module and one folder.

- A Python block whose first line is `# name.py` is a file in the folder. pytest runs the files at the end.
- Any other Python block runs in the module of the page, and sees the names of the blocks above it.
- A console block runs in the folder. Its `resonate` commands use a development server that lasts as long as the page.
  Shown output has to be the output, except for times.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from resonate import Resonate
from resonate_infra.server.assembly import Server, ServerOptions
from tests.support.command_line import CommandLine
from tests.support.docs.blocks import Block
from tests.support.docs.parsing import Command, commands_of

_TIMES = (
    re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?"),
    re.compile(r"\b\d+(\.\d+)?(ms|s|m|h|d)\b( \d+(s|m|h)\b)*"),
)
_SETTING = re.compile(r"(\w+)=(.*)", re.DOTALL)


def as_shown(text: str) -> list[str]:
    """Return the lines of an output without its times and its alignment."""
    for times in _TIMES:
        text = times.sub("TIME", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


class PageRun:
    """The folder, the module and the server of one page.

    Args:
        page: the page.
        blocks: its blocks that are run.
        folder: an empty folder, in which they run.
        patch: undoes what the page does to this process.
    """

    def __init__(self, page: Path, blocks: list[Block], folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._blocks = blocks
        self._patch = patch
        self._folder = folder
        self._page = page
        self._module = ModuleType(f"page_{page.stem.replace('-', '_')}")
        self._running = ExitStack()

    def run(self) -> None:
        """Run the blocks."""
        self._patch.setitem(sys.modules, self._module.__name__, self._module)
        self._patch.chdir(self._folder)
        for name in [name for name in os.environ if name.startswith("RESONATE_")]:
            self._patch.delenv(name)
        files = [block for block in self._blocks if block.file]
        for block in files:
            (self._folder / str(block.file)).write_text(block.text, encoding="utf-8")
        with self._running:
            if any(words[0] == "resonate" for block in self._consoles() for each in block for words in each.simple()):
                self._start_server()
            for block in self._blocks:
                if block.file is None:
                    self._run(block)
            for name, value in list(vars(self._module).items()):
                if isinstance(value, Resonate) and not name.startswith("_"):
                    value.stop()
        if files:
            self._run_files([str(block.file) for block in files])

    def _consoles(self) -> list[list[Command]]:
        return [commands_of(block) for block in self._blocks if block.language == "console"]

    def _start_server(self) -> None:
        server = Server(ServerOptions(port=0))
        self._running.enter_context(server.running())
        self._patch.setenv("RESONATE_URL", server.url)

    def _run(self, block: Block) -> None:
        if block.language in ("python", "setup"):
            # Tracebacks show the line of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
            exec(code, vars(self._module))
        elif block.language == "console":
            for command in commands_of(block):
                written = "".join(self._command(words, block) for words in command.simple())
                if command.output:
                    same = as_shown(written) == as_shown("\n".join(command.output))
                    assert same, f"{block}: {command.text} has written\n{written}"

    def _command(self, words: list[str], block: Block) -> str:
        """Run a command, and return what it has written."""
        if words[0] == "resonate":
            ran = CommandLine(RESONATE_URL=os.environ.get("RESONATE_URL")).run(*words[1:])
            assert ran.code == 0, f"{block}: {' '.join(words)}: {ran}"
            return ran.out
        if words[0] == "cd":
            self._patch.chdir(words[1])
        elif words[0] == "export" and (setting := _SETTING.fullmatch(words[1])):
            self._patch.setenv(*setting.groups())
        elif words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, f"{block}: {' '.join(words)}\n{done.stdout}{done.stderr}"
            return done.stdout
        else:
            pytest.fail(f"{block}: {words[0]} is not run: say why in a comment `<!-- not run: REASON -->`")
        return ""

    def _run_files(self, names: list[str]) -> None:
        """Have pytest import each file and run the tests in them."""
        modules = [name.removesuffix(".py") for name in names if name.endswith(".py")]
        imports = "\n".join(f"    import {name}" for name in modules if name != "conftest")
        (self._folder / "test_files.py").write_text(f"def test_files():\n{imports}\n", encoding="utf-8")
        tests = sum((self._folder / name).read_text(encoding="utf-8").count("\ndef test_") for name in names) + 1
        template = f"resonate_template={Path(__file__).parents[3] / 'template.yaml'}"
        plugin = ("-p", "resonate_infra.testing.plugin", "-o", template)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=120)
        outcomes = pytest.RunResult.parse_summary_nouns(done.stdout.splitlines())
        assert outcomes.keys() <= {"passed"}, f"{self._page}:\n{done.stdout}{done.stderr}"
        # Parametrised tests count several times.
        assert outcomes["passed"] >= tests
