"""Searches of the table while another store writes, and the consistency of reads."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from resonate_store.dynamo.items import Expiry
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseSearch
from tests.support.build import TARGETED, create, settle
from tests.support.dynamo import Table, Wire, after, make_client
from tests.support.present import present
from tests.support.substrates import T0


def test_search_of_settled_executions_finds_one_that_settles_meanwhile(table: Table, wire: Wire) -> None:
    clock = ManualClock(T0)
    store, rival = table.store(clock, shards=1), table.store(clock, client=make_client(), shards=1)
    assert store.apply(create("a", TARGETED)).ok
    wire.faults.extend([None, after(lambda: rival.apply(settle("a")))])
    found = present(store.apply(PromiseSearch("resolved", roots=True)).promises)
    assert [promise.id for promise in found] == ["a"]


def test_read_of_the_table_is_consistent(table: Table, dynamo: Any) -> None:
    """Indexes have only eventually consistent reads."""
    store = table.store(ManualClock(T0))
    for request in (create("a"), create("a.1", {"resonate:origin": "a"}), settle("a")):
        assert store.apply(request).ok
    read: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        read.append(params)

    for operation in ("GetItem", "Query"):
        dynamo.meta.events.register(f"provide-client-params.dynamodb.{operation}", note)
    store.children("a")
    store.record("a")
    store.apply(PromiseSearch(id="a."))
    store.delete_tree(Expiry("a", T0), most=10)
    for operation in ("GetItem", "Query"):
        dynamo.meta.events.unregister(f"provide-client-params.dynamodb.{operation}", note)
    assert len(read) > 6
    assert [arguments for arguments in read if not arguments.get("ConsistentRead")] == []


def test_bounded_search_skips_no_execution(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.dynamo.search.MAX_EXAMINED", 5)
    clock = ManualClock(T0)
    store = table.store(clock, shards=1)
    for n in range(12):
        assert store.apply(create(f"w{n}", {**TARGETED, "n": str(n)})).ok
        clock.advance(1)
    for n in range(12):
        found: list[str] = []
        response = store.apply(search := PromiseSearch("pending", roots=True, tags={"n": str(n)}, limit=1))
        while response.cursor is not None:
            found += [promise.id for promise in present(response.promises)]
            response = store.apply(replace(search, cursor=response.cursor))
        assert [*found, *(promise.id for promise in present(response.promises))] == [f"w{n}"]


def test_cursor_outside_the_prefix_of_its_search_is_refused(table: Table) -> None:
    store = table.store(ManualClock(T0))
    for id in ("w.1", "w.2"):
        assert store.apply(create(id)).ok
    cursor = present(store.apply(search := PromiseSearch(id="w.", limit=1)).cursor)
    response = store.apply(replace(search, cursor=cursor.replace(b"w.1".hex(), b"v.1".hex())))
    assert (response.status, "is no cursor of a promise.search" in (response.error or "")) == (400, True)
