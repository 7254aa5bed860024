"""Searches of the table while another store writes, and the consistency of reads."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from resonate_store.dynamo import search as dynamo_search
from resonate_store.dynamo.items import Expiry
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import ExecutionCount, ExecutionSearch
from resonate_store.model.requests import PromiseSearch, Search, TaskHalt, TaskSearch
from resonate_store.model.schedule_requests import ScheduleSearch
from resonate_store.model.tags import FUNC, ORIGIN, PARENT
from tests.support.build import HOUR, TARGETED, create, schedule, settle
from tests.support.dynamo import Table, Wire, after, make_client, parameters_of
from tests.support.present import present
from tests.support.searches import all_of, found, id_of
from tests.support.substrates import T0

# These tests make the most requests, and the two clients send the same ones.


def test_search_finds_an_execution_that_settles_meanwhile(table: Table, wire: Wire) -> None:
    clock = ManualClock(T0)
    store, rival = table.store(clock, shards=1), table.store(clock, client=make_client(), shards=1)
    assert store.apply(create("a", TARGETED)).ok
    wire.faults.extend([None, after(lambda: rival.apply(settle("a")))])
    found = present(store.apply(PromiseSearch("resolved", roots=True)).promises)
    assert [promise.id for promise in found] == ["a"]


def test_reads_of_the_table_are_consistent(table: Table, dynamo: Any) -> None:
    """Indexes have only eventually consistent reads."""
    store = table.store(ManualClock(T0))
    for request in (create("a"), create("a.1", {"resonate:origin": "a"}), settle("a")):
        assert store.apply(request).ok
    with parameters_of(dynamo, "GetItem", "Query") as read:
        store.children("a")
        store.record("a")
        store.apply(PromiseSearch(id="a."))
        store.delete_tree(Expiry("a", T0), most=10)
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


def test_search_uses_indexes_where_it_can(
    table: Table, wire: Wire, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    store = table.store(clock, shards=2)
    for id in ("w", "v", "w.1", "w.2", "w.2.1"):
        store.apply(create(id, {ORIGIN: "w", PARENT: "w"} if "." in id else TARGETED))
    store.apply(schedule("s"))
    store.apply(TaskHalt("v"))
    wire.taken()
    searches: list[tuple[Search, list[str]]] = [
        (PromiseSearch(roots=True), ["Query"] * 10 + ["BatchGetItem"]),
        (PromiseSearch("pending", roots=True, limit=1), ["Query"] * 2 + ["BatchGetItem"]),
        (PromiseSearch("rejected", roots=True), ["Query"] * 2),
        (PromiseSearch(id="w."), ["Query"] * 6),
        (ExecutionSearch(), ["Query"] * 10 + ["BatchGetItem"]),
        (ExecutionSearch("running", id="w", limit=1), ["Query"] * 2 + ["GetItem"]),
        (ExecutionSearch("failed"), ["Query"] * 4),
        (ExecutionSearch("halted"), ["Query"] * 2 + ["GetItem"]),
        (PromiseSearch(tags={PARENT: "w"}), ["Query"] * 7),
        (ScheduleSearch(), ["Query"] * 2 + ["GetItem"]),
        (TaskSearch(), ["Scan"]),
        (PromiseSearch("pending"), ["Scan"]),
    ]
    for search, calls in searches:
        with subtests.test(search=search):
            assert found(store.apply(search))[:1] or set(calls) == {"Query"}
            assert wire.taken() == calls


def test_counts_read_the_index_and_few_records(table: Table, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    store = table.store(ManualClock(T0), shards=2)
    for n in range(6):
        store.apply(create(f"w{n}", TARGETED))
    store.apply(TaskHalt("w5"))
    store.apply(settle("w4"))
    wire.taken()
    counts = present(store.apply(ExecutionCount()).counts)
    assert (counts.pending, counts.running, counts.halted, counts.resolved, counts.at_least) == (5, 4, 1, 1, ())
    assert wire.taken() == ["Query"] * 10 + ["BatchGetItem"]

    monkeypatch.setattr(dynamo_search, "MOST_DETAILED", 4)
    counts = present(store.apply(ExecutionCount()).counts)
    assert (counts.pending, counts.running, counts.halted) == (5, None, 1)
    assert wire.taken() == ["Query"] * 12 + ["GetItem"]
    monkeypatch.setattr(dynamo_search, "MOST_COUNTED", 2)
    counts = present(store.apply(ExecutionCount()).counts)
    assert (counts.pending, counts.at_least) == (2, ("pending",))


def test_search_for_executions_of_a_rare_function_is_bounded(
    table: Table, wire: Wire, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo_search, "MAX_EXAMINED", 5)
    store = table.store(clock, shards=1)
    for n in range(12):
        store.apply(create(f"w{n}", {**TARGETED, FUNC: "rare" if n == 0 else "often"}))
        clock.advance(1)
    for n in range(30):
        store.apply(create(f"other{n}", TARGETED))
    wire.taken()
    first = store.apply(ExecutionSearch("pending", "rare", limit=2))
    assert (first.executions, first.cursor is not None, set(wire.taken())) == ((), True, {"Query", "BatchGetItem"})
    assert [id_of(view) for view in all_of(store.apply, ExecutionSearch("pending", "rare", limit=2))] == ["w0"]
    wire.taken()
    assert len(all_of(store.apply, ExecutionSearch(id="w", limit=4))) == 12
    assert len(wire.taken()) < 100


def test_search_for_halted_executions_beyond_the_bound_is_complete(
    table: Table, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo_search, "MAX_EXAMINED", 6)
    store = table.store(clock, shards=2)
    for n in range(12):
        store.apply(create(f"w{n:02}", TARGETED))
        store.apply(TaskHalt(f"w{n:02}"))
        clock.advance(1)
    views = all_of(store.apply, ExecutionSearch("halted", limit=5))
    assert [id_of(view) for view in views] == [f"w{n:02}" for n in reversed(range(12))]


def test_search_examines_a_bounded_part_of_the_table(
    table: Table, wire: Wire, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo_search, "MAX_EXAMINED", 5)
    store = table.store(clock)
    for n in range(12):
        store.apply(create(f"w{n}", {"odd": str(n % 2)}))
    wire.taken()
    first = store.apply(PromiseSearch(tags={"odd": "7"}))
    assert (found(first), first.cursor is not None, wire.taken()) == ([], True, ["Scan"])
    assert len(all_of(store.apply, PromiseSearch(tags={"odd": "1"}))) == 6
    store.retain("w0", T0, T0 + HOUR, 0)
    assert len(all_of(store.apply, PromiseSearch())) == 12


def test_search_of_many_roots_of_one_instant_finds_all(
    table: Table, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo_search, "MAX_EXAMINED", 10)
    store = table.store(clock, shards=2)
    for n in range(40):
        store.apply(create(f"w{n:02}", TARGETED))
        clock.advance(n % 19 == 18)
    in_order = [id_of(view) for view in all_of(store.apply, PromiseSearch(roots=True, limit=1000))]
    for limit in (3, 7, 30):
        views = all_of(store.apply, PromiseSearch(roots=True, limit=limit))
        assert [id_of(view) for view in views] == in_order
    assert in_order == [f"w{n:02}" for n in (38, 39, *range(19, 38), *range(19))]
