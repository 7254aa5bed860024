"""The time and chance, asked for by a workflow: recorded, so that a replay finds the same."""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from resonate import Context
from resonate_store.model.clock import installed
from tests.support.driver import Driver, Flow
from tests.support.steps import begun, caught
from tests.support.ways import three_ways


@three_ways
def test_time_is_recorded_and_replayed(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield from begun((ctx.time.time(), ctx.sleep(60), ctx.time.time())))

    began = driver.clock.now() / 1000
    with installed(driver.clock):
        assert driver.run("w", workflow) == [began, None, began + 60]
    assert [driver.record(f"w.{n}").tags["resonate:func"] for n in (1, 3)] == ["time.time", "time.time"]


@three_ways
def test_time_as_text_is_local(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.time.strftime("%Y-%m-%d %H:%M:%S %z"))

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        now = datetime.fromtimestamp(driver.clock.now() // 1000, ZoneInfo("Asia/Kolkata"))
        with installed(driver.clock):
            assert driver.run("w", workflow) == f"{now:%Y-%m-%d %H:%M:%S} +0530"
    finally:
        monkeypatch.undo()
        time.tzset()


@three_ways
def test_random_number_is_recorded_and_replayed(driver: Driver) -> None:
    seen: list[float] = []

    def workflow(ctx: Context) -> Flow:
        seen.append((yield ctx.random.random()))
        yield ctx.sleep(60)
        seen.append((yield ctx.random.random()))

    driver.run("w", workflow)

    first, replayed, second = seen
    assert first == replayed != second
    assert 0 <= first < 1


DRAWS: dict[str, tuple[Any, ...]] = {
    "betavariate": (2.0, 3.0),
    "choice": (["a", "b", "c"],),
    "expovariate": (0.5,),
    "getrandbits": (40,),
    "randint": (1, 6),
    "random": (),
    "randrange": (10, 100, 5),
    "triangular": (0.0, 10.0, 2.0),
}


@three_ways
def test_random_methods_draw_as_pythons_random_does(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, name: str) -> Flow:
        return (yield getattr(ctx.random, name)(*DRAWS[name]))

    for name, arguments in DRAWS.items():
        with subtests.test(name):
            driver.dependencies["resonate:random"] = random.Random(7)
            assert driver.run(name, workflow, name) == getattr(random.Random(7), name)(*arguments)


@three_ways
def test_impossible_draw_fails_without_a_retry(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return str((yield from caught(ctx.random.choice([]), IndexError)))

    assert driver.run("w", workflow) == "Cannot choose from an empty sequence"
    assert driver.elapsed() == 0


@three_ways
def test_typesafe_returns_the_results_of_its_commands(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield from ctx.typesafe(ctx.begin_run(lambda _: 1))
        drawn = yield from ctx.typesafe(ctx.random.randint(2, 2))
        nothing = yield from ctx.typesafe(ctx.sleep(0))
        return [(yield from ctx.typesafe(promise)), drawn, nothing]

    assert driver.run("w", workflow) == [1, 2, None]
