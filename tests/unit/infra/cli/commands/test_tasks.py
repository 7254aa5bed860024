"""`resonate tasks`."""

from __future__ import annotations

from tests.support.command_line import CommandLine


def test_task_is_halted_with_a_reason_and_continued(over_table: CommandLine, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")
    assert over_table.json("tasks", "get", id)["state"] == "pending"

    halted = over_table.ok("tasks", "halt", id, "--reason", "the shop is closed").fields
    assert (halted["state"], halted["error"]) == ("halted", "the shop is closed")
    assert halted["halted"].endswith("Z")
    continued = over_table.ok("tasks", "continue", id).fields
    assert (continued["state"], continued["attempts"]) == ("pending", "0")
    assert "error" not in continued


def test_continue_of_a_task_that_is_not_halted_is_refused(over_table: CommandLine, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")

    code, line = over_table.fails("tasks", "continue", id)
    assert code == 1
    assert line.startswith(f"task.continue of {id!r}: ")


def test_tasks_are_found_by_state(over_table: CommandLine) -> None:
    for name in ("a", "b", "c"):
        over_table.ok("invoke", name, "-f", "order")
    over_table.ok("tasks", "halt", "b", "--reason", "why not")

    assert over_table.ok("tasks", "search", "--state", "halted").rows == [["b", "halted", "0", "0", "why not"]]
    assert [each["id"] for each in over_table.json("tasks", "search", "--state", "pending")["tasks"]] == ["a", "c"]
    assert len(over_table.json("tasks", "search", "--limit", "2")["tasks"]) == 2
    assert len(over_table.json("tasks", "search", "--all")["tasks"]) == 3


def test_halted_task_of_a_server_is_found(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "sleeps", "-t", "nobody")

    assert resonate.json("tasks", "halt", id)["state"] == "halted"
    assert id in [each["id"] for each in resonate.json("tasks", "search", "--state", "halted", "--all")["tasks"]]
