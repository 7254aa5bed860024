"""`ctx.map`: what is under way at a time, what is begun after failures, what its result says, and its replay."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate.workflow.composites.mapping import MapResult
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import ONCE, double
from tests.support.ways import three_ways

SECONDS = [9, 1, 3, 1, 1]


def load(ctx: Context, seconds: int) -> Flow:
    """Take this time, and fail if it is one second."""
    yield ctx.sleep(seconds)
    if seconds == 1:
        raise ValueError(f"no page at {ctx.id}")
    return seconds


def summary(result: MapResult[Any]) -> list[Any]:
    return [result.values, [failure.index for failure in result.failures], result.begun]


@three_ways
@pytest.mark.parametrize(
    ("tolerated", "expected"),
    [
        (None, [[9, None, 3, None, None], [1, 3, 4], 5]),
        (1, [[9, None, 3, None, None], [1, 3], 4]),
        (0.0, [[9, None, None, None, None], [1], 2]),
    ],
)
def test_map_past_its_tolerated_failures_begins_no_further_item(
    driver: Driver, tolerated: float | None, expected: list[Any]
) -> None:
    def workflow(ctx: Context) -> Flow:
        items = ctx.map(load, SECONDS, max_concurrency=2, tolerated_failures=tolerated, remote=True)
        return summary((yield items.options(timeout=60)))

    driver.register(load)

    assert driver.run("w", workflow) == expected


@three_ways
def test_map_fills_a_slot_as_soon_as_it_is_free(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.map(load, [9, 2, 2, 2], max_concurrency=2, remote=True)).values

    driver.register(load)

    assert driver.run("w", workflow) == [9, 2, 2, 2]
    first, *others = (driver.promise(f"w.1.{n}") for n in (1, 2, 3, 4))
    ends = [present(item.settled_at) for item in others]
    assert [item.created_at for item in others[1:]] == ends[:2]
    assert ends[2] < present(first.settled_at)


def test_map_result_raises_the_errors_of_its_items(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        result = yield ctx.map(load, SECONDS).options(retry_policy=ONCE)
        with pytest.raises(ExceptionGroup, match="3 of 5 items failed") as failed:
            result.raise_if_failed()
        return sorted(str(error) for error in failed.value.exceptions)

    assert driver.run("w", workflow) == [f"no page at w.1.{n}" for n in (2, 4, 5)]


def test_replay_counts_all_known_failures_before_it_begins_an_item(driver: Driver) -> None:
    """When item 3 fails, item 2 is pending; when the map is replayed, both have ended and two slots are free."""

    def workflow(ctx: Context) -> Flow:
        items = ctx.map("load", range(6), max_concurrency=2, tolerated_failures=1, remote=True)
        return summary((yield items.options(target="elsewhere")))

    driver.start("w", workflow)
    for number, error in ((1, ValueError("bad")), (3, ValueError("bad")), (2, None)):
        driver.settle(f"w.1.{number}", error, "rejected" if error else "resolved")
        driver.work()

    assert driver.finish("w") == [[None] * 6, [0, 2], 3]
    assert driver.ids() == ["w", "w.1", "w.1.1", "w.1.2", "w.1.3"]


def test_replay_of_finished_map_reads_one_record_of_it(driver: Driver) -> None:
    async def workflow(ctx: Context) -> Any:
        result = await ctx.map(double, range(50), max_concurrency=8)
        await ctx.sleep(3600)
        return result.values

    driver.start("w", workflow)
    assert len(driver.records()) == 53
    driver.tap.requests.clear()

    assert driver.finish("w") == [2 * n for n in range(50)]
    assert driver.tap.kinds() == ["task.acquire", "children:w", "task.fulfill"]
    assert [child.id for child in driver.store.children("w")] == ["w.1", "w.2"]


def test_failed_item_does_not_warn_of_its_missing_value(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def halve(_: Context, n: int) -> int:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n // 2

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.map(halve, [4, 5]).options(retry_policy=ONCE)).values

    assert driver.run("w", workflow) == [2, None]
    assert [record.name for record in caplog.records] == ["resonate:w:w.1.2"]


def lines_of(items: int) -> int:
    """Return how many lines of code this thread runs for a map of this many local items, 10 of them under way."""
    store = MemoryStore()
    resonate = Resonate(store=store)
    resonate.register(doubled)
    messages: list[dict[str, Any]] = []
    store.subscribe(send=lambda _, message: messages.append(message))
    handler = resonate.handler()
    call = codec.encode({"func": "doubled", "args": [items]}, "the call")
    store.apply(PromiseCreate("w", store.clock.now() + 60_000, call, {TARGET: "lambda://worker"}))
    lines = 0

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        status = handler(messages.pop(), None)["status"]
    finally:
        sys.settrace(before)
    assert status == "completed"
    return lines


def doubled(ctx: Context, items: int) -> Flow:
    return sum((yield ctx.map(double, range(items), max_concurrency=10)).values)


def test_item_costs_the_same_in_a_long_map() -> None:
    """Each wait looks at the items under way, and not at those that have settled."""
    lines_of(10)  # what is done once

    assert lines_of(400) / lines_of(100) < 4.2
