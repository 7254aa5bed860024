"""`ctx.map`: what is under way at a time, what is begun after failures, and what its result says."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context
from resonate.workflow.composites.mapping import MapResult
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import ONCE
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
