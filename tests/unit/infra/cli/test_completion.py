"""Completion of the ids of executions in a shell."""

from __future__ import annotations

import pytest

from resonate_infra.cli.application import application
from resonate_infra.server.assembly import Server
from tests.support.command_line import CommandLine, unchanged_levels


def completed(line: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what bash is offered after a command line."""
    for name, text in {
        "RESONATE_URL": url,
        "_RESONATE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }.items():
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("RESONATE_TABLE", raising=False)
    with pytest.raises(SystemExit), unchanged_levels():
        application().main([], prog_name="resonate", complete_var="_RESONATE_COMPLETE")
    written = capsys.readouterr()
    assert written.err == ""
    return written.out.split()


def test_completion_offers_ids_of_executions_and_is_silent_without_server(
    resonate: CommandLine,
    server: Server,
    id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resonate.ok("invoke", f"{id}-0", "-f", "order", "-t", "svcc")

    for command in ("tree", "executions get", "executions cancel", "history export"):
        assert completed(f"resonate {command} {id}-", server.url, monkeypatch, capsys) == [f"{id}-0"]
    assert completed(f"resonate tree {id}-", "http://localhost:1", monkeypatch, capsys) == []
