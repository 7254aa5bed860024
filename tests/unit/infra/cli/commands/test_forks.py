"""`resonate executions fork` and `redrive`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.cli.commands.forks import RESULTS
from resonate_store.remote.store import HttpStore
from tests.support.command_line import CommandLine

ORDER = ("-f", "order", "-a", "1", "-t", "worker", "--wait")


def test_fork_runs_an_execution_again_from_its_command(resonate: CommandLine, id: str) -> None:
    first = resonate.ok("invoke", id, *ORDER).out
    forked = resonate.json("executions", "fork", id, "--from", "3")
    expected = {"id": f"{id}@1", "source": id, "from": "3", "result": "created", "copied": 2, "warnings": []}
    assert forked == expected
    assert resonate.ok("invoke", f"{id}@1", *ORDER).out == first
    tree = resonate.json("tree", f"{id}@1")
    assert [child["id"] for child in tree["children"]] == [f"{id}@1.{number}" for number in (1, 2, 3)]
    assert tree["children"][0]["createdAt"] == resonate.json("promises", "get", f"{id}.1")["createdAt"]

    resonate.ok("executions", "fork", id, "--id", f"{id}-b", "--arg", "7", "--kwarg", 'currency="EUR"')
    assert '"charged 7 EUR"' in resonate.ok("invoke", f"{id}-b", *ORDER).out
    again = resonate.ok("executions", "fork", id, "--id", f"{id}-b", "--arg", "7")
    assert again.out == RESULTS["exists"].format(id=f"{id}-b", source=id, at=1) + "\n"


def test_fork_over_a_table_is_continued(over_table: CommandLine, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order", "-a", "1", "-t", "worker")
    over_table.ok("promises", "cancel", id, "--force")

    assert over_table.json("executions", "redrive", id)["id"] == f"{id}@1"
    task = over_table.json("tasks", "get", f"{id}@1")
    assert (task["state"], task["version"]) == ("pending", 1)
    code, line = over_table.fails("executions", "redrive", id)
    assert (code, line) == (1, f"{id!r} was redriven as '{id}@1', which is pending: wait for it, or cancel it")


def test_fork_names_what_it_cannot_do(resonate: CommandLine, id: str) -> None:
    assert resonate.fails("executions", "fork", "none")[0] == 6
    resonate.run("invoke", id, "-f", "fails", "-a", '"no"', "-t", "worker", "--wait")
    code, line = resonate.fails("executions", "redrive", id)
    assert code == 1
    assert line.startswith(f"no command of {id!r} has the error of the workflow, no command has failed: say from which")
    assert resonate.json("executions", "redrive", id, "--from", "1")["from"] == "1"
    assert "has 1 commands" in resonate.fails("executions", "fork", id, "--from", "9")[1]
    assert "not the number of a command" in resonate.fails("executions", "fork", id, "--from", "x")[1]


def test_fork_warns_of_promises_that_were_handed_out(resonate: CommandLine, id: str) -> None:
    lineage = {"resonate:scope": "global", "resonate:parent": id, "resonate:origin": id}
    resonate.ok("invoke", id, "-f", "sleeps", "-t", "nobody")
    tags = [f"--tag={name}={text}" for name, text in lineage.items()]
    resonate.ok("promises", "create", f"{id}.1", *tags)
    ran = resonate.ok("executions", "fork", id, "--from", "2")
    assert ran.err == f"warning: '{id}.1' is a promise that is pending: the fork waits for another one, '{id}@1.1'\n"


class Gone(BaseException):
    """The process of the command has died."""


@pytest.mark.parametrize("lives", [11, 17])
def test_redrive_of_many_is_exactly_once_although_it_dies(
    resonate: CommandLine, id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
    failed = [f"{id}-{number}" for number in range(6)]
    for each in failed:
        resonate.run("invoke", each, "-f", "fails", "-a", '"no"', "-t", "worker", "--tag", f"test={id}", "--wait")
    resonate.ok("invoke", f"{id}-fine", "-f", "double", "-a", "1", "-t", "worker", "--tag", f"test={id}", "--wait")
    selected = ("--state", "failed", "--func", "fails", "--tag", f"test={id}", "--yes")
    assert resonate.json("executions", "redrive", *selected, "--dry-run")["selected"] == 6
    apply, left = HttpStore.apply, [lives]

    def mortal(store: HttpStore, request: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # not the worker
            left[0] -= 1
            if left[0] == 0:
                raise Gone
        return apply(store, request)

    monkeypatch.setattr(HttpStore, "apply", mortal)
    arguments = selected
    for deaths in range(100):  # noqa: B007
        left[0] = lives
        try:
            resonate.ok("executions", "redrive", *arguments, "--from", "1")
            break
        except Gone:
            journals = list((tmp_path / "resonate" / "bulk").glob("*"))
            arguments = ("--resume", str(journals[0])) if journals else selected
    monkeypatch.undo()
    assert deaths >= 2
    roots = resonate.json("executions", "list", "--tag", f"test={id}", "--all")["executions"]
    assert sorted(each["id"] for each in roots) == sorted([*failed, f"{id}-fine", *(f"{each}@1" for each in failed)])
    assert all(resonate.run("invoke", f"{each}@1", "-f", "fails", "--wait").code == 3 for each in failed)
