"""The page Start (docs/index.md), and the program of README.md: its commands do what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_infra.server.assembly import Server, ServerOptions
from tests.support.command_line import CommandLine
from tests.support.docs.blocks import ROOT, blocks_of
from tests.support.docs.parsing import Command, commands_of
from tests.support.docs.running import as_shown

START = ROOT / "docs" / "index.md"
BLOCKS = list(blocks_of(START))
SLEEP_S = 2
PROGRAM = r"RESONATE_URL=http://localhost:8001 python order\.py"


def program(page: Path) -> str:
    """Return the program of a page, with a shorter sleep."""
    [block] = [block for block in blocks_of(page) if block.file == "order.py"]
    text, count = re.subn(r"ctx\.sleep\(20\)", f"ctx.sleep({SLEEP_S})", block.text)
    assert count == 1
    return text


def shown(pattern: str) -> Command:
    """Return the command of the page that matches."""
    consoles = [block for block in BLOCKS if block.language == "console"]
    [command] = [each for block in consoles for each in commands_of(block) if re.fullmatch(pattern, each.text)]
    return command


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in [name for name in os.environ if name.startswith("RESONATE_")]:
        monkeypatch.delenv(name)
    server = Server(ServerOptions(port=0, data=str(tmp_path / "promises.db")))
    with server.running():
        yield server


def started(folder: Path, server: Server) -> subprocess.Popen[str]:
    environment = {**os.environ, "RESONATE_URL": server.url, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "order.py"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("page", [START, ROOT / "README.md"], ids=lambda page: page.stem)
def test_killed_program_of_the_page_continues_when_it_starts_again(page: Path, tmp_path: Path, server: Server) -> None:
    (tmp_path / "order.py").write_text(program(page), encoding="utf-8")
    killed, again, tree = shown(rf"{PROGRAM} & .*"), shown(PROGRAM), shown("resonate tree .*")

    with started(tmp_path, server) as first:
        assert first.stdout is not None
        line = first.stdout.readline().strip()
        command_line = CommandLine(RESONATE_URL=server.url)
        pending = command_line.ok("executions", "get", "book-1").out
        while "waiting until" not in pending:
            pending = command_line.ok("executions", "get", "book-1").out
        first.kill()
    seen = command_line.ok(*tree.words[1:]).out
    with started(tmp_path, server) as second:
        outcome, _ = second.communicate(timeout=60)

    assert [line] == killed.output
    assert as_shown(seen) == as_shown("\n".join(tree.output))
    assert outcome.splitlines() == again.output


def test_test_file_of_the_page_passes_by_its_command(tmp_path: Path) -> None:
    [file] = [block for block in BLOCKS if block.file == "test_order.py"]
    (tmp_path / str(file.file)).write_text(file.text, encoding="utf-8")
    [_, command] = shown(r"cd \.\./order-test && python .*").simple()
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)

    words = [sys.executable, *command[1:], "-q"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_new_project_of_the_page_passes_on_the_offline_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    CommandLine().ok(*shown("resonate init .*").words[1:])
    [deployed] = [block for block in BLOCKS if block.file == "test_deployed.py"]
    (tmp_path / "orders" / str(deployed.file)).write_text(deployed.text, encoding="utf-8")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, *shown("python -m pytest").words[1:], "-p", "resonate_infra.testing.plugin", "-q"]

    folder = tmp_path / "orders"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
