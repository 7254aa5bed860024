"""Conversion of JSON data to annotated types: every supported type, alone and nested."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate import Context, Resonate
from resonate.errors import PayloadError
from resonate.payloads.restore import fit, restore
from tests.support.driver import Driver, Flow
from tests.support.steps import begun, caught
from tests.support.ways import three_ways
from tests.unit.sdk.payloads.values import (
    CIRCLE,
    NOON,
    VALUES,
    Circle,
    Colour,
    Corner,
    Level,
    Mixed,
    Movie,
    Point,
    Size,
    Strict,
    travel,
)


class Other(msgspec.Struct):
    x: float
    y: int = 0


class UA(msgspec.Struct):
    a: int


class UB(msgspec.Struct):
    a: int


class UC(msgspec.Struct):
    a: int
    c: int = 0


class Dotted(pydantic.BaseModel):
    a: int
    dots: list[int]


UNIONS: list[tuple[Any, Any]] = [
    (UA(1), UA | UC),
    (UC(1, 2), UA | UC),
    (UC(1), UA | UC),
    (UA(1), UC | UA),
    ([UC(1, 2), UA(1)], list[UA | UC]),
    ({"a": UC(1, 2)}, dict[str, UA | UC | None]),
    (Dotted(a=1, dots=[2]), UA | Dotted),
    (UA(1), Dotted | UA | UC),
    ("2025-06-15T12:00:00Z", datetime | str),
    ("2025-06-15T12:00:00Z", UUID | datetime | str | None),
    (["1.5", 2, 2.5], list[Decimal | str | int | float]),
    ("red", Colour | str),
    (1, float | int),
    (True, int | bool | datetime),
    (b"a", Literal[b"a", "b"]),
    (Colour.RED, Literal[Colour.RED, 5]),
]
"""Values of unions of which several members fit the data."""


def test_annotated_value_comes_back_as_it_was(subtests: pytest.Subtests) -> None:
    for value, annotation in (*VALUES, *UNIONS):
        with subtests.test(f"{type(value).__name__} as {annotation}"):
            back = travel(value, annotation)
            assert back == value
            assert type(back) is type(value)


def echo(annotation: Any, number: int, given: list[Any]) -> Callable[..., Any]:
    def echo(_: Context, value: Any) -> Any:
        given.append(value)
        return value

    echo.__annotations__.update(value=annotation, **{"return": annotation})
    echo.__name__ = f"echo{number}"
    return echo


@pytest.mark.parametrize("how", ["begin_run", "begin_rpc"])
@three_ways
def test_workflow_and_its_calls_get_annotated_values(driver: Driver, how: str) -> None:
    given: list[Any] = []
    echoes = [driver.register(echo(annotation, number, given)) for number, (_, annotation) in enumerate(VALUES)]
    found: list[Any] = []

    def workflow(ctx: Context) -> Flow:
        calls = (getattr(ctx, how)(call, value) for call, (value, _) in zip(echoes, VALUES, strict=True))
        promises = yield from begun(calls)
        yield ctx.sleep(60)  # what follows reads it all from the store
        found.extend((yield from begun(promises)))

    driver.run("w", workflow)

    expected = [(value, type(value)) for value, _ in VALUES]
    assert [(value, type(value)) for value in given] == expected
    assert [(value, type(value)) for value in found] == expected


# Unions


def test_first_of_equally_fitting_union_members_is_restored() -> None:
    assert travel([1], set[int] | list[int]) == {1}
    assert travel(Point(1.0, 2), Point | Other) == Point(1.0, 2)
    assert travel(Point(1.0, 2), Other | Point) == Other(1.0, 2)


def test_union_member_nearest_to_unknown_fields_is_restored() -> None:
    assert restore({"a": 1, "c": 2, "new": 3}, UA | UC) == UC(1, 2)


@dataclass
class Base:
    a: int


@dataclass
class Derived(Base):
    b: int = 0


class DerivedUA(UA):
    b: int = 0


class DerivedDotted(Dotted):
    b: int = 0


def test_subclass_instance_comes_back_as_its_annotation(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any]] = [
        (Derived(1, 2), Base(1)),
        (DerivedUA(1, 2), UA(1)),
        (DerivedDotted(a=1, dots=[2], b=3), Dotted(a=1, dots=[2])),
    ]
    for value, base in cases:
        for annotation, expected in ((type(base), base), (type(base) | type(value), value)):
            with subtests.test(str(annotation)):
                back = travel(value, annotation)
                assert (type(back), back) == (type(expected), expected)


@three_ways
def test_value_that_would_come_back_as_another_member_is_refused(driver: Driver, subtests: pytest.Subtests) -> None:
    given: list[Any] = []
    cases: list[tuple[Any, Any]] = [
        (NOON, datetime | str),
        (UB(1), UA | UB),
        ([UB(1)], list[UA | UB]),
        (Colour.RED, str | Colour | None),
        ({1: 2, "a": 3}, dict[int | str, int]),
    ]
    calls = [driver.register(echo(annotation, number, given)) for number, (_, annotation) in enumerate(cases)]

    def workflow(ctx: Context, number: int, how: str) -> Flow:
        answer = yield from caught(getattr(ctx, how)(calls[number], cases[number][0]), PayloadError)
        if how == "begin_run":
            answer = yield from caught(answer, PayloadError)
        return answer.mesg

    for number, (value, annotation) in enumerate(cases):
        for how in ("run", "begin_run", "rpc", "begin_rpc"):
            with subtests.test(how, annotation=annotation):
                given.clear()
                where = f"the result of echo{number}", "it"
                if "rpc" in how:
                    where = f"the arguments of echo{number}", "value"
                expected = "{} cannot travel: {} is a {}, which would come back as another member".format(
                    *where, type(value).__name__
                )
                assert expected in driver.run(f"{how}-{number}", workflow, number, how)
                assert len(given) == ("run" in how)


@three_ways
def test_client_refuses_a_value_that_would_arrive_as_another_member(resonate: Resonate) -> None:
    function = resonate.register(echo(datetime | str, 0, []))

    for call in (function.run, function.rpc):
        with pytest.raises(PayloadError, match="the arguments of echo0 cannot travel: value is a datetime"):
            call("a", NOON)
    assert function.run("b", "2025-06-15T12:00:00Z") == "2025-06-15T12:00:00Z"


# Containers and keys


def test_container_comes_back_ordered_and_without_factory_or_limit() -> None:
    with pytest.raises(KeyError):
        travel(defaultdict(list, {"a": [1]}), defaultdict[str, list[int]])["b"]

    assert list(travel(OrderedDict(b=1, a=2), OrderedDict[str, int])) == ["b", "a"]
    assert travel(deque([1], maxlen=1), deque[int]).maxlen is None


def test_key_that_does_not_fit_stays_text_beside_restored_keys() -> None:
    plain = {"1": {"x": 1.0}, "three": {"x": 2.0}}

    assert restore(plain, dict[Mixed, Point]) == {Mixed.ONE: Point(1.0), "three": Point(2.0)}
    assert restore(plain, dict[int, Point]) == {1: Point(1.0), "three": Point(2.0)}
    assert restore({"1": {"z": 1.0}, "three": {}}, dict[int, Point]) == {"1": {"z": 1.0}, "three": {}}
    assert restore(plain, dict[int, Point] | dict[str, Point]) == {"1": Point(1.0), "three": Point(2.0)}


def test_bool_keys_are_restored_from_json_names() -> None:
    plain = {"true": {"x": 1.0}, "false": {"x": 2.0}}

    assert restore(plain, dict[bool, Point]) == {True: Point(1.0), False: Point(2.0)}
    assert restore(plain, dict[bool | Mixed, Point]) == {True: Point(1.0), False: Point(2.0)}
    assert restore({"True": 1, "false": 2}, dict[bool, int]) == {"True": 1, False: 2}


# Any value of the supported types

_leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False)),
    (str, st.text()),
    (bytes, st.binary()),
    (datetime, st.datetimes(timezones=st.just(UTC)) | st.datetimes()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False)),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Corner, st.sampled_from(Corner)),
    (Point, st.builds(Point, st.floats(allow_nan=False), st.integers(-(2**62), 2**62))),
    (Size, st.builds(Size, st.integers(), st.dates())),
    (Movie, st.fixed_dictionaries({"title": st.text(), "length": st.timedeltas()})),
    (Circle, st.builds(Circle, st.builds(Point, st.floats(allow_nan=False)), st.decimals(allow_nan=False))),
    (Point | Circle, st.builds(Point, st.floats(allow_nan=False)) | st.just(CIRCLE)),
    (Strict, st.builds(Strict, at=st.datetimes(timezones=st.just(UTC)), size=st.just((1, 2)))),
]
_HASHABLE = 13


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Any]:
    """Draw an annotation and a value of it."""
    kind = draw(st.sampled_from(["leaf", "list", "tuple", "set", "dict", "optional"] if depth else ["leaf"]))
    if kind == "leaf":
        annotation, values = draw(st.sampled_from(_leaves))
        return annotation, draw(values)
    if kind == "set":
        annotation, values = draw(st.sampled_from(_leaves[:_HASHABLE]))
        return draw(st.sampled_from([set, frozenset]))[annotation], draw(st.frozensets(values, max_size=3))
    annotation, value = draw(typed(depth - 1))
    if kind == "list":
        return list[annotation], [value] * draw(st.integers(0, 2))
    if kind == "tuple":
        other, another = draw(typed(depth - 1))
        return tuple[annotation, other], (value, another)
    if kind == "dict":
        key, keys = draw(st.sampled_from([_leaves[0], _leaves[3], _leaves[10], _leaves[11]]))
        return dict[key, annotation], {draw(keys): value}
    return annotation | None if isinstance(annotation, type) else annotation, value


def is_ambiguous(value: Any) -> bool:
    """Return whether a value may hold both an infinity and a text that is written for one, which is refused."""
    text = repr(value)
    return "inf" in text and "__" in text


@given(typed())
def test_any_value_of_the_supported_types_comes_back(case: tuple[Any, Any]) -> None:
    annotation, value = case
    if isinstance(value, frozenset) and str(annotation).startswith("set["):
        value = set(value)

    if not is_ambiguous(value):
        assert travel(value, annotation) == value
        assert fit(travel(value, Any), annotation, "value") == value
