"""`resonate executions`: the roots, the newest first."""

from __future__ import annotations

from tests.infra.cli.driving import CommandLine


def test_executions_are_listed_and_their_parts_are_not(resonate: CommandLine, id: str) -> None:
    for n in range(2):
        resonate.ok("invoke", f"{id}-{n}", "-f", "order", "-a", "1", "-t", "worker", "--tag", f"test={id}", "--wait")
    resonate.ok("invoke", f"{id}-2", "-f", "sleeps", "-t", "worker", "--tag", f"test={id}")

    found = resonate.json("executions", "list", "--tag", f"test={id}")["executions"]
    assert [each["id"] for each in found] == [f"{id}-2", f"{id}-1", f"{id}-0"]
    rows = resonate.ok("executions", "list", "--tag", f"test={id}", "--state", "resolved").rows
    assert [row[:3] for row in rows] == [[f"{id}-{n}", "resolved", "order"] for n in (1, 0)]
    assert resonate.ok("executions", "list", "--tag", "test=none").err == "no executions found\n"
