"""Searches: what they find, how it is shown, in which order, and that pages add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import ExecutionCount, ExecutionSearch
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseSearch, Request, Response, Search, TaskHalt, TaskSearch
from resonate_store.model.schedule_requests import ScheduleSearch
from resonate_store.model.tags import ORIGIN, PARENT
from tests.support.build import (
    DAY,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    create,
    create_task,
    recorded,
    schedule,
    settle,
    suspend,
    suspended,
)
from tests.support.dynamo import Table
from tests.support.hypothesis_settings import examples
from tests.support.searches import Apply, all_of, found, id_of
from tests.support.substrates import EVERYWHERE, T0, World, in_memory, in_sqlite


def ids(store: World, search: Search) -> list[str]:
    return [id_of(view) for view in all_of(store.apply, search)]


# -- what is found ----------------------------------------------------------------------------------------------------


def test_search_without_conditions_finds_every_promise(store: World) -> None:
    for id in ("b", "a.2", "a", "a.10", "é/ #", "a.1"):
        store.apply(create(id))
    store.apply(schedule("s"))
    promises = all_of(store.apply, PromiseSearch())
    assert sorted(map(id_of, promises)) == ["a", "a.1", "a.10", "a.2", "b", "é/ #"]
    assert all(promise == store.stored(id_of(promise)).promise() for promise in promises)


def test_search_of_an_empty_store_is_an_empty_page(store: World) -> None:
    assert store.apply(PromiseSearch()) == Response(promises=())
    assert store.apply(TaskSearch()) == Response(tasks=())
    assert store.apply(ScheduleSearch()) == Response(schedules=())
    assert store.apply(PromiseSearch(roots=True)) == Response(promises=())
    assert store.apply(PromiseSearch(id="w.")) == Response(promises=())


def test_search_by_id_prefix_finds_a_tree_in_order(store: World, subtests: pytest.Subtests) -> None:
    """Across levels, with levels missing, and among ids that have the same key prefix."""
    for id in ("w", "wx.1", "w.1", "w.1.1", "w.10", "w.2", "w.2.1.1.1", "w.", "v.1", "w.1\U0010ffffx"):
        store.apply(create(id))
    for prefix, expected in (
        ("w.", ["w.", "w.1", "w.1.1", "w.10", "w.1\U0010ffffx", "w.2", "w.2.1.1.1"]),
        ("w.1", ["w.1", "w.1.1", "w.10", "w.1\U0010ffffx"]),
        ("w.1.", ["w.1.1"]),
        ("w.2.1", ["w.2.1.1.1"]),
        ("w.3", []),
    ):
        for limit in (1, 2, 100):
            with subtests.test(prefix=prefix, limit=limit):
                assert ids(store, PromiseSearch(id=prefix, limit=limit)) == expected


def test_search_by_id_prefix_knows_the_colon_of_official_clients(store: World) -> None:
    for id in ("w", "w:1", "w:1.1", "w:10", "w:x", "w:1x.1", "a:b:2", f"w:d{'0' * 16}"):
        store.apply(create(id))
    for limit in (1, 100):
        assert sorted(ids(store, PromiseSearch(id="w:", limit=limit))) == sorted(
            ["w:1", "w:1.1", "w:10", "w:x", "w:1x.1", f"w:d{'0' * 16}"]
        )
        assert sorted(ids(store, PromiseSearch(id="w:1", limit=limit))) == ["w:1", "w:1.1", "w:10", "w:1x.1"]
        assert ids(store, PromiseSearch(id="w:1.", limit=limit)) == ["w:1.1"]
        assert ids(store, PromiseSearch(id="w:1x.", limit=limit)) == ["w:1x.1"]
        assert ids(store, PromiseSearch(id="a:b:", limit=limit)) == ["a:b:2"]
        assert ids(store, PromiseSearch(id=":", limit=limit)) == []


def test_search_by_id_prefix_without_a_dot_finds_any_id(store: World) -> None:
    for id in ("order", "order-1", "order-1.1", "orders.1", "ord", "x"):
        store.apply(create(id))
    assert set(ids(store, PromiseSearch(id="order"))) == {"order", "order-1", "order-1.1", "orders.1"}
    assert len(ids(store, PromiseSearch(id=""))) == 6


@pytest.mark.parametrize("new_store", EVERYWHERE, indirect=True)
def test_search_of_roots_finds_the_newest_first(store: World, subtests: pytest.Subtests) -> None:
    for n, id in enumerate(("c", "a", "b")):
        store.apply(create(id, TARGETED))
        store.apply(create(f"{id}.1", {ORIGIN: id}))
        if n:
            store.clock.advance(SECOND)
    store.apply(create("detached.7", {ORIGIN: "detached.7"}))
    store.apply(settle("b"))
    for search, expected in (
        (PromiseSearch(), ["detached.7", "b", "a", "c"]),
        (PromiseSearch("pending"), ["detached.7", "a", "c"]),
        (PromiseSearch("resolved"), ["b"]),
        (PromiseSearch(id="detached"), ["detached.7"]),
        (PromiseSearch("rejected"), []),
    ):
        for limit in (1, 2, 3, 100):
            with subtests.test(search=search, limit=limit):
                assert ids(store, replace(search, roots=True, limit=limit)) == expected


def test_search_by_parent_tag_finds_children_of_any_id(store: World) -> None:
    for id, parent in (("w", "w"), ("w.1", "w"), ("w.1.1", "w.1"), ("w.2", "w"), ("elsewhere", "w"), ("x", "x")):
        store.apply(create(id, {PARENT: parent, "kind": "step" if "." in id else "top"}))
    for limit in (1, 3, 100):
        assert sorted(ids(store, PromiseSearch(tags={PARENT: "w"}, limit=limit))) == ["elsewhere", "w", "w.1", "w.2"]
    assert ids(store, PromiseSearch(tags={PARENT: "w", "kind": "step"})) == ["w.1", "w.2"]


def test_search_of_tasks_finds_them_by_state(store: World) -> None:
    suspended(store, "s", "a")
    store.apply(create("p", TARGETED))
    store.apply(create_task("h.1"))
    store.apply(TaskHalt("h.1", reason="broken"))
    store.apply(create("plain"))
    assert set(ids(store, TaskSearch(limit=1))) == {"h.1", "p", "s"}
    (halted,) = all_of(store.apply, TaskSearch("halted"))
    assert halted == store.stored("h.1").task_view()
    assert ids(store, TaskSearch("suspended")) == ["s"]
    assert ids(store, TaskSearch("fulfilled")) == []


def test_search_of_schedules_has_pages_of_10(store: World) -> None:
    store.apply(create("s00"))
    for n in range(11):
        store.apply(schedule(f"s{n:02}"))
    page = store.apply(ScheduleSearch())
    assert len(found(page)) == 10
    assert list(map(id_of, found(store.apply(ScheduleSearch(cursor=page.cursor))))) == ["s10"]


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_search_shows_due_promises_settled_and_writes_nothing(store: World) -> None:
    store.apply(create("late", TARGETED, at=T0 + MINUTE))
    store.apply(create("timer", TIMED, at=T0 + MINUTE))
    store.apply(create("open", TARGETED))
    before = store.stored("late")
    store.clock.advance(MINUTE)
    for roots in (False, True):
        assert ids(store, PromiseSearch("pending", roots=roots)) == ["open"]
        (late,) = all_of(store.apply, PromiseSearch("rejected_timedout", roots=roots))
        assert isinstance(late, PromiseView)
        assert (late.id, late.settled_at) == ("late", T0 + MINUTE)
        assert ids(store, PromiseSearch("resolved", roots=roots)) == ["timer"]
    assert ids(store, TaskSearch("pending")) == ["open"]
    assert ids(store, TaskSearch("fulfilled")) == ["late"]
    assert store.stored("late") == before


def test_search_with_a_slow_clock_shows_stored_timeouts(store: World) -> None:
    store.clock.advance(2 * SECOND)
    store.apply(create("p", OUTSIDE, at=T0 + 2 * SECOND + 1))
    store.clock.advance(1)
    store.apply(settle("p"))
    assert store.stored("p").state == "rejected_timedout"
    slow = store.neighbour(-2 * SECOND)
    (promise,) = all_of(slow.apply, PromiseSearch())
    assert isinstance(promise, PromiseView)
    assert promise.state == "rejected_timedout"


# -- what is refused --------------------------------------------------------------------------------------------------


def test_search_with_an_invalid_cursor_is_400(store: World, subtests: pytest.Subtests) -> None:
    for cursor in ["", "w", "zz", "00", "93", "c0", "é", "93ce00000000a0a0" * 40]:
        for search in [PromiseSearch(), PromiseSearch(id="w."), PromiseSearch(roots=True), TaskSearch()]:
            with subtests.test(search=search, cursor=cursor):
                response = store.apply(replace(search, cursor=cursor))
                assert (response.status, "cursor" in (response.error or "")) == (400, True)


def test_search_with_the_cursor_of_another_search_is_400(store: World) -> None:
    for n in range(3):
        store.apply(create(f"w.{n}", TARGETED))
    searches = [
        PromiseSearch(limit=1),
        PromiseSearch("pending", limit=1),
        PromiseSearch(id="w.", limit=1),
        PromiseSearch(roots=True, limit=1),
        PromiseSearch(tags=TARGETED, limit=1),
        TaskSearch(limit=1),
    ]
    for one in searches:
        cursor = store.apply(one).cursor
        assert cursor is not None
        for other in searches:
            response = store.apply(replace(other, cursor=cursor))
            assert response.status == (200 if other == one else 400)
    larger = PromiseSearch(limit=1000, cursor=store.apply(searches[0]).cursor)
    assert len(found(store.apply(larger))) == 2


# -- pages add up -----------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(["w", "v", "w.1", "w.2.1", "w.10", "x.1", "vw", "u/é", "w:1", "w:x"])
CONDITIONS = st.one_of(
    st.builds(
        PromiseSearch,
        state=st.sampled_from([None, "pending", "resolved", "rejected", "rejected_timedout"]),
        tags=st.sampled_from([{}, {"k": "1"}, TARGETED, {PARENT: "w"}, {PARENT: "w", "k": "1"}]),
        id=st.sampled_from([None, "", "w", "w.", "w.1", "w.2.", "v", "w:", "w:1."]),
        roots=st.booleans(),
    ),
    st.builds(
        ExecutionSearch,
        state=st.sampled_from(
            [None, "pending", "running", "waiting", "retrying", "halted", "resolved", "failed", "rejected_timedout"]
        ),
        tags=st.sampled_from([{}, {"k": "1"}]),
        id=st.sampled_from([None, "w", "v"]),
        since=st.sampled_from([None, T0 + 1]),
        until=st.sampled_from([None, T0 + SECOND]),
    ),
    st.builds(TaskSearch, state=st.sampled_from([None, "pending", "acquired", "fulfilled"])),
    st.builds(ScheduleSearch, tags=st.sampled_from([{}, {"k": "1"}])),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Request | int]:
    """Requests that fill a store, and pauses between them."""
    requests: list[Request | int] = []
    for n in range(draw(st.integers(0, 25))):
        id = f"{draw(PARTS)}{draw(st.sampled_from(['', f'.{n}', f'-{n}']))}"
        tags = draw(st.sampled_from([{}, {"k": "1"}, TARGETED, TIMED, {ORIGIN: "w"}, {PARENT: "w"}]))
        kinds = ["create", "create", "task", "settle", "record", "schedule", "halt", "retry", "pause"]
        match draw(st.sampled_from(kinds)):
            case "create":
                requests.append(create(id, tags, at=T0 + draw(st.sampled_from([SECOND, DAY]))))
            case "task":
                requests.append(create_task(id))
            case "settle":
                requests += [create(id), settle(id, draw(st.sampled_from(["resolved", "rejected"])))]
            case "record":
                requests.append(recorded(id))
            case "halt":
                requests += [create_task(id), TaskHalt(id)]
            case "retry":
                requests += [create_task(id), create(f"{id}.1~1", {**TIMED, ORIGIN: id}), suspend(id, f"{id}.1~1")]
            case "schedule":
                requests.append(schedule(f"s{n}", tags={**TARGETED, "k": str(n % 2)}))
            case _:
                requests.append(draw(st.sampled_from([1, SECOND])))
    return requests


@settings(
    max_examples=examples(8, in_ci=20),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=histories(), searches=st.lists(CONDITIONS, min_size=1, max_size=4), data=st.data())
def test_search_pages_of_any_size_are_equal_on_all_substrates(
    dynamo: Any, history: list[Request | int], searches: list[Search], data: st.DataObject
) -> None:
    clock = ManualClock(T0)
    memory = in_memory(clock)
    in_dynamo = Table(dynamo, streaming=False).store(clock, shards=2)
    with in_sqlite(clock) as sqlite:
        applies: list[Apply] = [memory.apply, sqlite.apply, in_dynamo.apply]
        for request in history:
            if isinstance(request, int):
                clock.advance(request)
            else:
                for apply in applies:
                    apply(request)
        for search in searches:
            expected = found(memory.apply(replace(search, limit=1000)))
            for apply in applies:
                views = all_of(apply, replace(search, limit=data.draw(st.integers(1, 8))))
                assert sorted(views, key=id_of) == sorted(expected, key=id_of)
                if ordered(search) or apply != in_dynamo.apply:
                    assert views == expected
        counts = {str(apply(ExecutionCount(T0 + 1)).counts) for apply in applies}
        assert len(counts) == 1


def ordered(search: Search) -> bool:
    """Whether DynamoDB keeps the order of this search."""
    if isinstance(search, PromiseSearch):
        return search.roots or "." in (search.id or "")
    return isinstance(search, (ScheduleSearch, ExecutionSearch))


def test_search_pages_show_old_records_once_during_writes(store: World) -> None:
    """Promises are created and settled between two pages."""
    steady = [f"w{n:02}" for n in range(12)]
    for id in steady:
        store.clock.advance(1)
        store.apply(create(id, TARGETED))
        store.apply(create(f"t.{id}"))
    for number, search in enumerate(
        (
            PromiseSearch(limit=2),
            PromiseSearch(roots=True, limit=2),
            PromiseSearch(id="t.", limit=2),
            ExecutionSearch(limit=2),
        )
    ):
        seen: list[str] = []
        cursor, n = None, 0
        while n == 0 or cursor is not None:
            response = store.apply(replace(search, cursor=cursor))
            seen += [id_of(view) for view in found(response)]
            cursor = response.cursor
            store.clock.advance(1)
            store.apply(create(f"new{number}-{n}"))
            store.apply(create(f"t.new{number}-{n}"))
            store.apply(settle(steady[-1 - n % 12]))
            n += 1
        there = [f"t.{id}" for id in steady] if search.id else steady
        assert sorted(id for id in seen if id in there) == there
        assert len(seen) == len(set(seen))
