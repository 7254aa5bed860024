"""Arguments of the commands that wait for several promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.workflow.commands import state_of
from tests.support.driver import Driver, Flow
from tests.support.steps import double

WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a value": (lambda ctx: ctx.all(1, 2), r"ctx\.all takes promises and commands .*int: 1"),
    "no iterable": (lambda ctx: ctx.race(5), r"ctx\.race takes promises"),
    "both ways": (lambda ctx: ctx.all(ctx.run(double, 1), b=ctx.run(double, 2)), "by position or by name"),
    "nothing": (lambda ctx: ctx.race(), r"ctx\.race needs at least one promise"),
    "nothing listed": (lambda ctx: ctx.any([]), r"ctx\.any needs at least one"),
    "a combinator": (lambda ctx: ctx.race(ctx.all(ctx.run(double, 1))), r"ctx\.begin_run"),
    "a command": (lambda ctx: ctx.wait(ctx.run(double, 1), timeout=5), r"ctx\.wait takes a promise"),
    "an id": (lambda ctx: ctx.cancel("w.1"), r"ctx\.cancel takes a promise"),
    "a text as time": (lambda ctx: ctx.begin_sleep("5"), "secs must be `float`, got str"),
    "a negative time": (lambda ctx: ctx.begin_sleep(-1), "zero or more"),
    "no items": (lambda ctx: ctx.map(double, 5), "iterable of items"),
    "no slots": (lambda ctx: ctx.map(double, [1], max_concurrency=0), "at least 1"),
    "many failures": (lambda ctx: ctx.map(double, [1], tolerated_failures=1.5), "share must be between"),
    "an id of a map": (lambda ctx: ctx.map(double, [1]).options(id="x"), "no option `id`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_argument_is_refused_where_it_is_given(driver: Driver, case: str) -> None:
    wrong, text = WRONG[case]
    made: list[tuple[int, int]] = []

    def workflow(ctx: Context) -> Flow:
        with pytest.raises((TypeError, ValueError), match=text):
            wrong(ctx)
        made.append((state_of(ctx).made, state_of(ctx).count))
        return (yield ctx.run(double, 1))

    assert driver.run("w", workflow) == 2


def test_commands_that_are_not_yielded_are_reported(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.all(ctx.run(double, 1), ctx.run(double, 2))
        yield ctx.map(double, [1, 2])
        yield ctx.wait((yield ctx.begin_run(double, 1)), timeout=5)
        ctx.race(ctx.run(double, 1))
        return 1

    driver.run("w", workflow)

    assert ["made 2 more commands" in record.getMessage() for record in caplog.records] == [True]
