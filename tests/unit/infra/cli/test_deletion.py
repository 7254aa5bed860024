"""`resonate delete`: an execution goes before its retention is over."""

from __future__ import annotations

from resonate_store.model.clock import ambient
from resonate_store.model.requests import PromiseCreate
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table


def test_an_execution_is_deleted_with_what_is_below_it(over_table: CommandLine, table: Table, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")
    tags = {"resonate:origin": id}
    clock = ambient()
    assert table.store(clock).apply(PromiseCreate(f"{id}.1", clock.now() + 60_000, tags=tags)).ok
    over_table.ok("promises", "cancel", id)

    assert over_table.json("delete", id) == {"id": id, "deleted": 2}
    assert table.items() == []
    assert over_table.fails("delete", id) == (6, f"there is no promise {id!r}")


def test_what_is_pending_is_cancelled_first_if_that_is_wanted(over_table: CommandLine, table: Table, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order")

    code, line = over_table.fails("delete", id)
    assert (code, line) == (1, f"the execution {id!r} is pending: cancel it first, or wait for its end")
    assert over_table.ok("delete", id, "--force").out.strip() == f"deleted {id} and 0 promises below it"
    assert table.items() == []


def test_over_http_nothing_is_deleted(resonate: CommandLine) -> None:
    code, line = resonate.fails("delete", "first")
    assert code == 2
    assert "give --table" in line
