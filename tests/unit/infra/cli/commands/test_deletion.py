"""`resonate delete`."""

from __future__ import annotations

from resonate_store.model.clock import ambient
from resonate_store.model.requests import PromiseCreate
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table


def test_delete_removes_an_execution_and_its_children(over_table: CommandLine, table: Table, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")
    tags = {"resonate:origin": id}
    clock = ambient()
    assert table.store(clock).apply(PromiseCreate(f"{id}.1", clock.now() + 60_000, tags=tags)).ok
    over_table.ok("promises", "cancel", id, "--force")

    assert over_table.json("delete", id) == {"id": id, "deleted": 2}
    assert table.items() == []
    assert over_table.fails("delete", id) == (6, f"there is no promise {id!r}")


def test_delete_of_pending_execution_requires_force(over_table: CommandLine, table: Table, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")

    code, line = over_table.fails("delete", id)
    assert (code, line) == (1, f"the execution {id!r} is pending: cancel it first, or wait for its end")
    assert over_table.ok("delete", id, "--force").out.strip() == f"deleted {id} and 0 promises below it"
    assert table.items() == []
