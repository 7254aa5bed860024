"""What annotations say of a function's arguments and result."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypedDict, Unpack

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.signatures import signature_of

NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Order(msgspec.Struct):
    id: str


class Settings(TypedDict, total=False):
    at: datetime
    corner: Point


def generator(
    _: Any, at: datetime, *rest: Point, colour: Colour = Colour.RED, **more: Any
) -> Generator[Any, Any, Order]:
    raise NotImplementedError


def plain(_: Any, first: tuple[int, int], second: Any, third) -> set[int]:  # type: ignore[no-untyped-def]
    raise NotImplementedError


def iterating(_: Any) -> Iterator[int]:
    raise NotImplementedError


def coroutine(_: Any) -> Coroutine[Any, Any, Point]:
    raise NotImplementedError


def unannotated(_, a, *rest):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def misspelt(_: Any, a: "Nonexistent") -> int:  # noqa: F821, UP037 # type: ignore[name-defined]
    raise NotImplementedError


def test_arguments_are_restored_by_position_and_by_name() -> None:
    signature = signature_of(generator)

    args, kwargs = signature.arguments(
        ["2025-06-15T12:00:00Z", {"x": 1}, {"x": 2}], {"colour": "red", "more": ["plain"]}
    )
    assert args == [NOON, Point(1), Point(2)]
    assert kwargs == {"colour": Colour.RED, "more": ["plain"]}
    assert signature_of(plain).arguments([[1, 2], [1, 2], [1, 2]], {})[0] == [(1, 2), [1, 2], [1, 2]]
    assert signature.arguments([], {"at": "2025-06-15T12:00:00Z"}) == ([], {"at": NOON})


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (generator, Order),
        (plain, set[int]),
        (coroutine, Point),
        (iterating, Any),
        (unannotated, Any),
        (misspelt, Any),
        (len, Any),
    ],
)
def test_the_result_type_is_what_a_caller_gets(function: Callable[..., Any], result: Any) -> None:
    assert signature_of(function).result == result


def test_a_function_without_annotations_takes_what_comes() -> None:
    assert signature_of(unannotated).arguments([1, [2], {"x": 3}], {"a": 4}) == ([1, [2], {"x": 3}], {"a": 4})


@pytest.fixture
def resonate() -> Any:
    made = Resonate.local()
    yield made
    made.stop()


def test_what_else_is_given_by_name_is_restored(resonate: Resonate) -> None:
    def corners(_: Context, x: int, /, **more: Point) -> str:
        return f"{x} {more}"

    def settings(_: Context, **more: Unpack[Settings]) -> str:
        return f"{more}"

    for function in (corners, settings):
        resonate.register(function)

    # The parameter named x can be given by position only, so that another x is one more.
    assert resonate.run("a", "corners", 1, x=Point(2), y=Point(3)) == "1 " + str({"x": Point(2), "y": Point(3)})
    assert resonate.run("b", "settings", at=NOON, corner=Point(1)) == str({"at": NOON, "corner": Point(1)})
