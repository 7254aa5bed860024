"""Operations on many executions: selection, question, journal and failures."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

import pytest

from resonate_store.interface import Store
from resonate_store.local.embedded import EmbeddedStore
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.requests import Request, Response
from tests.support.command_line import CommandLine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the journals of this test."""
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
    return tmp_path / "resonate" / "bulk"


@pytest.fixture
def three(resonate: CommandLine, id: str) -> str:
    """The prefix of three pending executions."""
    for n in range(3):
        resonate.ok("invoke", f"{id}-{n}", "-f", "order", "-t", "svcc")
    return id


def states(resonate: CommandLine, prefix: str) -> list[str]:
    found = resonate.json("executions", "list", "--id", prefix)["executions"]
    return [each["state"] for each in found]


def test_bulk_operation_asks_and_touches_only_what_is_selected(resonate: CommandLine, three: str, home: Path) -> None:
    dry = resonate.run("executions", "cancel", "--id", three, "--dry-run")
    assert dry.out.split() == [f"{three}-{n}" for n in (2, 1, 0)]
    asked = resonate.run("executions", "cancel", "--id", three)
    assert (asked.code, "3 executions" in asked.err, states(resonate, three)) == (1, True, ["pending"] * 3)

    done = resonate.ok("executions", "cancel", "--id", f"{three}-1", "--yes").out
    assert done == "cancel: 1 done, 0 skipped, 0 failed, of 1\n"
    assert states(resonate, three) == ["pending", "rejected_canceled", "pending"]
    again = resonate.json("executions", "cancel", "--id", three, "--yes")
    assert (again["done"], again["skipped"]) == (2, 1)
    deleted = resonate.json("executions", "delete", "--id", three, "--state", "rejected_canceled", "--yes")
    assert (deleted["done"], states(resonate, three), list(home.iterdir())) == (3, [], [])


def test_bulk_options_are_refused_without_selection_or_with_id(resonate: CommandLine) -> None:
    for arguments in (("cancel",), ("cancel", "a", "--state", "failed"), ("delete", "a", "--dry-run")):
        code, line = resonate.fails("executions", *arguments)
        assert (code, "select executions" in line) == (2, True), arguments


def test_interrupted_bulk_operation_continues_with_what_is_left(
    resonate: CommandLine, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    apply = EmbeddedStore.apply

    def interrupted(store: EmbeddedStore, request: Request) -> Response:
        if isinstance(request, PromiseCancel):
            made.append(request.id)
            if len(made) == 2:
                os.kill(os.getpid(), signal.SIGINT)
        return apply(store, request)

    monkeypatch.setattr(EmbeddedStore, "apply", interrupted)
    stopped = resonate.run("executions", "cancel", "--id", three, "--reason", "no longer", "--yes")
    assert (stopped.code, "interrupted after 2 of 3; to continue: " in stopped.err) == (130, True), stopped
    command = shlex.split(stopped.err.rpartition("to continue: resonate ")[2])

    other = resonate.run(*command, "--force")
    assert (other.code, "belongs to `cancel --reason" in other.err) == (2, True)
    assert resonate.json(*command)["done"] == 3
    assert made == [f"{three}-{n}" for n in (2, 1, 0)]
    assert resonate.run(*command).code == 2


def test_bulk_failures_are_tried_again_by_resume(
    resonate: CommandLine, three: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = EmbeddedStore.apply

    def refusing(store: Store, request: Request) -> Response:
        if isinstance(request, PromiseCancel) and request.id == f"{three}-1":
            return Response(status=409, error="not now")
        return apply(store, request)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedStore, "apply", refusing)
        failed = resonate.run("executions", "cancel", "--id", three, "--yes", "--json")
    assert (failed.code, json.loads(failed.out)["failures"]) == (1, [{"id": f"{three}-1", "error": "not now"}])
    (journal,) = home.iterdir()
    resonate.ok("executions", "cancel", "--resume", str(journal))
    assert (states(resonate, three), list(home.iterdir())) == (["rejected_canceled"] * 3, [])
