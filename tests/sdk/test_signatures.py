"""What a function's annotations say of its arguments and result, and which calls of it are refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypedDict, Unpack

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError, SignatureError
from resonate.retry_policies import Constant
from resonate.signatures import check, signature_of
from tests.sdk.driving import Driver, Flow
from tests.sdk.ways import three_ways

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


@pytest.mark.parametrize("how", ["run", "rpc"])
@three_ways
def test_what_else_is_given_by_name_is_restored(resonate: Resonate, how: str) -> None:
    def corners(_: Context, x: int, /, **more: Point) -> str:
        return f"{x} {more}"

    def settings(_: Context, **more: Unpack[Settings]) -> str:
        return f"{more}"

    for function in (corners, settings):
        resonate.register(function)
    call = getattr(resonate, how)

    # The parameter named x can be given by position only, so that another x is one more.
    assert call("a", "corners", 1, x=Point(2), y=Point(3)) == "1 " + str({"x": Point(2), "y": Point(3)})
    assert call("b", "settings", at=NOON, corner=Point(1)) == str({"at": NOON, "corner": Point(1)})


# Calls that do not fit


def required(_: Any, a: int, b: int = 2) -> int:
    return a + b


def by_position(_: Any, a: int, /, **more: int) -> int:
    return a + sum(more.values())


def by_name(ctx: Any, *, a: int, b: int = 2) -> int:  # noqa: ARG001
    return a + b


def anything(*args: Any) -> int:
    return len(args)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "problem"),
    [
        (required, (1,), {}, None),
        (required, (1, 2), {}, None),
        (required, (), {"b": 1, "a": 1}, None),
        (required, (), {}, "its argument 'a' is missing"),
        (required, (), {"b": 1}, "its argument 'a' is missing"),
        (required, (1, 2, 3), {}, "it takes 2 positional arguments after its context, and 3 were given"),
        (required, (1,), {"c": 1}, "it has no parameter 'c' that can be given by name"),
        (required, (1,), {"a": 1}, "its parameter 'a' was given twice"),
        (by_position, (1,), {"a": 1, "_": 2}, None),
        (by_position, (), {"a": 1}, "its argument 'a' is missing"),
        (by_name, (), {"a": 1}, None),
        (by_name, (), {}, "its argument 'a' is missing"),
        (by_name, (1,), {"a": 1}, "it takes 0 positional arguments after its context, and 1 was given"),
        (by_name, (), {"a": 1, "ctx": 1}, "its parameter 'ctx' was given twice"),
        (anything, (1, 2, 3), {}, None),
        (anything, (), {"a": 1}, "it has no parameter 'a' that can be given by name"),
        (lambda: 1, (), {}, "it has no parameter for the context, which it is given first"),
        (lambda _, a, b: a + b, (), {}, "its arguments 'a', 'b' are missing"),
    ],
)
def test_a_call_fits_if_python_says_so(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], problem: str | None
) -> None:
    if problem is None:
        check(function, "it", args, kwargs)
        assert isinstance(function(None, *args, **kwargs), int)
    else:
        with pytest.raises(SignatureError, match=f"it cannot be called like this: {problem}"):
            check(function, "it", args, kwargs)
        with pytest.raises(TypeError):
            function(None, *args, **kwargs)


@pytest.mark.parametrize("how", ["run", "begin_run", "rpc", "begin_rpc", "schedule"])
@three_ways
def test_a_call_that_does_not_fit_is_refused_before_anything_is_created(resonate: Resonate, how: str) -> None:
    function = resonate.register(required)
    calls: list[Callable[[], Any]] = [lambda: resonate.schedule("a", required, "@daily", c=1)]
    if how != "schedule":
        calls = [lambda: getattr(resonate, how)("a", required, c=1), lambda: getattr(function, how)("a", c=1)]

    for call in calls:
        with pytest.raises(TypeError, match="required cannot be called like this: it has no parameter 'c'"):
            call()
    with pytest.raises(ResonateStoreError, match="not found"):
        resonate.promises.get("a")


@pytest.mark.parametrize("how", ["run", "begin_run", "rpc", "begin_rpc", "detached"])
@three_ways
def test_a_workflow_gets_the_error_of_a_call_that_does_not_fit_and_goes_on(driver: Driver, how: str) -> None:
    driver.register(required)

    def workflow(ctx: Context) -> Flow:
        try:
            yield getattr(ctx, how)(required, 1, 2, 3)
        except TypeError as error:
            yield ctx.sleep(60)  # what follows is replayed
            return str(error)

    assert "required cannot be called like this: it takes 2 positional" in driver.run("w", workflow)
    assert [record.tags.get("resonate:func") for record in driver.records()].count("required") == 0


@pytest.mark.parametrize("kind", ["step", "generator", "async"])
@three_ways
def test_a_call_from_elsewhere_that_does_not_fit_is_rejected_at_once(driver: Driver, kind: str) -> None:
    async def spelt_async(_: Context, a: int) -> int:
        return a

    def spelt_as_generator(ctx: Context, a: int) -> Flow:
        yield ctx.sleep(a)

    function = {"step": required, "generator": spelt_as_generator, "async": spelt_async}[kind]
    driver.registry.add(function, "it")
    driver.create("w", {"func": "it", "args": [], "kwargs": {"b": 1}})

    assert driver.work() == ["completed"]
    with pytest.raises(SignatureError, match=r"like this: it(s argument 'a'| has no parameter 'b')"):
        driver.finish("w")


@three_ways
def test_an_async_function_whose_first_call_does_not_fit_is_not_tried_again(driver: Driver) -> None:
    driver.register(required)

    async def workflow(ctx: Context) -> None:
        await ctx.rpc(required)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    with pytest.raises(SignatureError, match="its argument 'a' is missing"):
        driver.run("w", workflow)
    assert driver.clock.now() < 1_000 + driver.record("w").created_at


@three_ways
def test_a_type_error_from_within_a_function_is_tried_again(driver: Driver) -> None:
    attempts: list[int] = []

    def step(ctx: Context) -> int:
        attempts.append(ctx.info.attempt)
        if len(attempts) < 3:
            raise TypeError("not yet")
        return 5

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(step).options(retry_policy=Constant(delay=1)))

    assert driver.run("w", workflow) == 5
    assert attempts == [1, 2, 3]
