"""Process of the command line: exit codes, streams, signals, imported modules."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from resonate_infra.cli.main import main
from resonate_infra.server.assembly import Server
from tests.support.server_api import PATIENCE

ROOT = Path(__file__).parents[4]
RESONATE = (sys.executable, "-m", "resonate_infra.cli")
HEAVY = {"boto3", "botocore", "croniter", "cryptography", "jwt", "pynamodb", "starlette", "urllib3", "uvicorn"}


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, env=_environment()
    )


def _environment() -> dict[str, str]:
    names = ("RESONATE_URL", "RESONATE_TABLE", "FORCE_COLOR", "COLUMNS")
    environment = {name: text for name, text in os.environ.items() if name not in names}
    return {**environment, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_script_of_the_package_is_main() -> None:
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["resonate"]
    module, _, name = script.partition(":")

    assert getattr(import_module(module), name) is main


def test_command_in_a_process_has_exit_code_and_one_line(server: Server) -> None:
    found = ran(*RESONATE, "promises", "get", "first", "--url", server.url)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("id        first")

    missing = ran(*RESONATE, "promises", "get", "nobody", "--url", server.url)
    assert (missing.returncode, missing.stdout, missing.stderr) == (6, "", "error: there is no promise 'nobody'\n")


def test_help_imports_no_heavy_library_and_no_command() -> None:
    script = (
        "import sys; from resonate_infra.cli.main import main; assert main(['--help']) == 0;"
        "commands = {name for name in sys.modules if name.startswith('resonate_infra.cli.commands.')};"
        f"print(sorted(sys.modules.keys() & {HEAVY!r} | commands), file=sys.stderr)"
    )

    assert ran(sys.executable, "-c", script).stderr == "[]\n"


def test_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "resonate_infra.cli.application", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "typer"]:
        monkeypatch.delitem(sys.modules, name)

    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] == "typer":
                raise ModuleNotFoundError("No module named 'typer'", name="typer")

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])

    assert main(["--help"]) == 1
    assert capsys.readouterr().err == ("error: the command line needs typer: pip install 'resonate-serverless[cli]'\n")


def test_closed_output_pipe_ends_without_error_text(server: Server) -> None:
    command = f"{' '.join(RESONATE)} executions list --json --url {server.url}"
    done = ran("bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}")

    assert (done.stdout, done.stderr) == ("141\n", "")


def test_invoke_on_a_terminal_draws_the_call_tree(server: Server) -> None:
    master, slave = pty.openpty()
    call = ("tree-1", "-f", "order", "-a", "1", "-t", "worker", "--wait", "--url", server.url)
    done = subprocess.run(
        [*RESONATE, "invoke", *call],
        stdout=subprocess.PIPE,
        stderr=slave,
        timeout=2 * PATIENCE,
        check=False,
        env={**_environment(), "TERM": "xterm"},
    )
    os.close(slave)
    drawn = os.read(master, 1_000_000).decode()
    os.close(master)

    assert (done.returncode, done.stdout) == (0, b'[\n  "charged 1 USD",\n  2\n]\n')
    assert "execution of order" in drawn
    assert "rpc double" in drawn
