"""Data that does not fit its annotation, and annotations that cannot be resolved."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from resonate import Context
from resonate.payloads.restore import restore
from tests.support.driver import Driver, Flow
from tests.support.steps import begun
from tests.unit.sdk.payloads.values import Account, Circle, Colour, Corner, Custom, Part, Point


@dataclass
class Careful:
    name: str

    def __post_init__(self) -> None:
        raise KeyError("anything")


@dataclass
class Unseen:
    """A type that the log has not named yet."""

    name: str


def test_data_that_does_not_fit_comes_back_as_it_is(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any]] = [
        ("text", int),
        ("5", int),
        (5, Point | Circle),
        ("not a date", datetime),
        ("purple", Colour),
        ("red", Corner),
        ([0, 5], Corner),
        ({"a": 1}, Point),
        ({"z": 1}, Point | Circle),
        ({"name": "x"}, Careful),
        ({"shape": {}, "more": 1}, Part),
        ({"id": "x"}, Account),
        ([], Account),
        ([1], Custom),
        ([1, 2], tuple[int, int, int]),
        ([1, 2], tuple[Point | Circle]),
        ({"a": 1}, list[Point | Circle]),
        ([1], dict[str, Point | Circle]),
        (["a"], deque[int]),
        ({"a": 1}, deque[str]),
        ([["a", 1]], OrderedDict[str, int]),
        ({"a": ["x"]}, defaultdict[str, list[int]]),
        (5, Counter[str]),
        # Annotations that cannot be resolved
        (1, "not a type"),
        ([1], Callable[[int], int]),
    ]
    for plain, annotation in cases:
        with subtests.test(str(annotation), plain=plain):
            back = restore(plain, annotation)
            assert back == plain
            assert type(back) is type(plain)


def test_unannotated_value_that_changes_its_type_is_logged_once(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="resonate")

    def unannotated(_, items):  # type: ignore[no-untyped-def]
        return set(items)

    def annotated(_: Context, items: tuple[int, ...]) -> set[int]:
        return set(items)

    def workflow(ctx: Context) -> Flow:
        for _ in range(2):
            yield ctx.run(unannotated, (1, 2))
            yield ctx.rpc(unannotated, (1, 2))
            yield ctx.rpc(annotated, (1, 2))

    driver.register(unannotated)
    driver.register(annotated)
    driver.run("w", workflow)
    assert sorted(each.getMessage() for each in caplog.records if "comes back as" in each.getMessage()) == [
        "items of unannotated is a tuple and comes back as a list: annotate it",
        "the result of unannotated is a set and comes back as a list: annotate it",
    ]


def test_result_that_does_not_fit_its_annotation_is_logged_once(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    def step(_: Context) -> Unseen:
        return {"nonsense": 1}  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def workflow(ctx: Context) -> Flow:
        # What came before the sleep is replayed.
        return (yield from begun([ctx.run(step), ctx.sleep(60), ctx.run(step)]))

    assert driver.run("w", workflow) == [{"nonsense": 1}, None, {"nonsense": 1}]
    logged = [record.getMessage() for record in caplog.records if record.name == "resonate.restore"]
    assert logged == ["a result is not the Unseen that its function is annotated with, and stays a dict"]
