"""`resonate executions`."""

from __future__ import annotations

from typing import Any

import pytest

from resonate_infra.cli.exits import FAILED as REFUSED
from resonate_infra.cli.exits import Failure
from resonate_infra.cli.session import Session
from tests.support.command_line import CommandLine
from tests.unit.infra.cli.conftest import NO_WORKER, Suspend


def test_executions_are_listed_without_their_children(resonate: CommandLine, id: str) -> None:
    for n in range(2):
        resonate.ok("invoke", f"{id}-{n}", "-f", "order", "-a", "1", "-t", "worker", "--tag", f"test={id}", "--wait")
    resonate.ok("invoke", f"{id}-2", "-f", "sleeps", "-t", "worker", "--tag", f"test={id}")

    found = resonate.json("executions", "list", "--tag", f"test={id}")["executions"]
    assert [each["id"] for each in found] == [f"{id}-2", f"{id}-1", f"{id}-0"]
    rows = resonate.ok("executions", "list", "--tag", f"test={id}", "--state", "resolved").rows
    assert [row[:3] for row in rows] == [[f"{id}-{n}", "resolved", "order"] for n in (1, 0)]
    assert resonate.ok("executions", "list", "--tag", "test=none").err == "no executions found\n"


def test_longest_id_is_listed_and_drawn_without_children(resonate: CommandLine, over_table: CommandLine) -> None:
    id = "x" * 1000
    for line in (resonate, over_table):
        line.ok("promises", "create", id, "--tag", "test=longest", "--tag", "resonate:scope=global")

        found = line.json("executions", "list", "--tag", "test=longest")["executions"]
        assert [(each["id"], each["waits"]) for each in found] == [(id, None)]
        assert line.json("tree", id)["children"] == []


def test_execution_that_cannot_be_explained_does_not_end_list(
    resonate: CommandLine, suspend: Suspend, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        suspend(f"{id}-{n}", tags={"test": id})
    below = Session.below

    def refuse_one(session: Session, each: str, *args: Any) -> Any:
        if each == f"{id}-1":
            raise Failure("refused", REFUSED)
        return below(session, each, *args)

    monkeypatch.setattr(Session, "below", refuse_one)
    found = resonate.json("executions", "list", "--tag", f"test={id}")["executions"]
    waits = {f"{id}-0": f"{id}-0.1: {NO_WORKER}", f"{id}-1": None}
    assert {each["id"]: each["waits"] for each in found} == waits
