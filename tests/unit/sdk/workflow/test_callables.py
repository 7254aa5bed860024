"""Callables that are not plain functions, as workflows and as steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from resonate import Context, Resonate
from resonate.engine.model import kind_of
from resonate.errors import SignatureError
from resonate.workflow.registry import Registry, plain_function
from resonate.workflow.signatures import check, signature_of
from tests.support.driver import Driver, Flow
from tests.support.ways import three_ways
from tests.unit.sdk.conftest import Connect


@dataclass
class Item:
    name: str


class Shop:
    """Has no hash, so it cannot be a key."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def step(self, _: Context, item: Item, suffix: str = "") -> str:
        return self.prefix + item.name + suffix

    def workflow(self, ctx: Context, item: Item) -> Flow:
        return (yield ctx.run(self.step, item, suffix="!"))

    async def asynchronous(self, ctx: Context, item: Item) -> str:
        return await ctx.run(self.step, item, suffix="?")

    def __call__(self, _: Context, item: Item) -> str:
        return "called " + item.name

    @classmethod
    def of_class(cls, _: Context, item: Item) -> str:
        return cls.__name__ + item.name

    def nothing(self) -> None: ...

    async def streams(self, _: Context) -> Any:
        yield 1


def step(_: Context, item: Item, suffix: str = "") -> str:
    return item.name + suffix


SHOP = Shop("a ")
CALLABLES = {
    "method": (SHOP.step, "step", "a box"),
    "generator": (SHOP.workflow, "workflow", "a box!"),
    "async": (SHOP.asynchronous, "asynchronous", "a box?"),
    "class method": (Shop.of_class, "of_class", "Shopbox"),
    "object": (SHOP, "Shop", "called box"),
    "partial": (functools.partial(step, suffix="."), "step", "box."),
    "partial of a method": (functools.partial(SHOP.step, suffix="."), "step", "a box."),
}


@three_ways
def test_callable_is_run_as_a_step(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, kind: str) -> Flow:
        func = CALLABLES[kind][0]
        promise = yield ctx.begin_run(func, item=Item("box"))
        return [(yield ctx.run(func, Item("box"))), (yield promise)]

    for number, (kind, (_, name, result)) in enumerate(CALLABLES.items()):
        with subtests.test(kind):
            assert driver.run(f"w{number}", workflow, kind) == [result, result]
            assert driver.promise(f"w{number}.1").tags["resonate:func"] == name


@pytest.mark.parametrize("kind", CALLABLES)
@three_ways
def test_callable_is_registered_and_called_by_itself(connect: Connect, kind: str) -> None:
    func, name, result = CALLABLES[kind]
    resonate = connect()
    registered = resonate.register(func)

    assert registered.name == name
    assert resonate.run("run", func, Item("box")) == resonate.rpc("rpc", name, Item("box")) == result
    assert registered.rpc("again", Item("box")) == result


def test_registered_callable_is_found_and_has_one_version() -> None:
    registry = Registry()
    registry.add(SHOP.step, "f", 7)
    registry.add(SHOP, "g", 8)

    assert (registry.get(SHOP.step).version, registry.get(SHOP).version) == (7, 8)
    assert registry.version_of(registry.plain(SHOP.step)) == 7
    assert registry.latest(Shop().step) == 1
    with pytest.raises(ValueError, match=r"function f already registered: .*Shop\.step \(.*test_callables.py:\d+\)"):
        registry.add(step, "f", 7)


def test_callable_keeps_its_kind_and_the_types_of_its_parameters() -> None:
    kinds = [kind_of(plain_function(each)) for each in (SHOP.step, SHOP.workflow, SHOP.asynchronous, SHOP)]
    assert kinds == ["step", "workflow", "async", "step"]
    signature = signature_of(plain_function(functools.partial(SHOP.step, suffix=".")))
    assert (signature.positional, signature.result, signature.least, signature.most) == ((Item, str), str, 1, 1)
    assert signature.arguments([{"name": "box"}], {}) == ([Item("box")], {})


def test_arguments_that_do_not_fit_a_callable_are_refused(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any, Any, str]] = [
        (SHOP.step, (), {}, "missing a required argument: 'item'"),
        (SHOP.step, (1, 2, 3), {}, "too many positional arguments"),
        (SHOP, (1,), {"unknown": 1}, "got an unexpected keyword argument 'unknown'"),
        (functools.partial(step, suffix="."), (1, 2), {}, "multiple values for argument 'suffix'|too many positional"),
    ]
    for func, args, kwargs, problem in cases:
        message = f"f cannot be called like this: .*({problem})"
        with subtests.test(problem), pytest.raises(SignatureError, match=message):
            check(plain_function(func), "f", args, kwargs)


async def asynchronous(_: Context) -> None: ...


def generator(_: Context) -> Flow:
    yield


UNTYPED: Any = step
NOT_FUNCTIONS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: step(None, Item("a")), ValueError, r"got str: .*, \(step, 4\) and not \(step\(ctx, 4\)\)"),  # type: ignore[arg-type]
    (lambda: generator(None), ValueError, r"got generator: .*, \(generator, 4\) and not \(generator\(ctx, 4\)\)"),  # type: ignore[arg-type]
    (lambda: asynchronous(None), ValueError, r"got coroutine: .*, \(asynchronous, 4\) and not"),  # type: ignore[arg-type]
    (lambda: Shop, ValueError, "got the class Shop: give a function, a bound method or an object with a __call__"),
    (lambda: print, ValueError, r"got print, which is not written in Python: wrap it, .* return print\(...\)"),
    (lambda: functools.partial(UNTYPED, 1), ValueError, r"fills the first parameter of step.*functools.partial\(step,"),
    (lambda: SHOP.nothing, TypeError, "nothing needs a first parameter that takes the context"),
    (lambda: SHOP.streams, ValueError, "streams is an async generator"),
]


def test_callable_of_a_wrong_kind_is_refused_with_the_fix(subtests: pytest.Subtests) -> None:
    resonate = Resonate.local()
    ctx = Context("w", None, resonate.registry, {})  # type: ignore[arg-type]
    for make, error, message in NOT_FUNCTIONS:
        for take in (ctx.run, ctx.begin_run, resonate.register):
            with subtests.test(message, take=take), pytest.raises(error, match=message):
                take(make())


def test_remote_call_of_a_called_function_is_refused() -> None:
    resonate = Resonate.local()
    ctx = Context("w", None, resonate.registry, {})  # type: ignore[arg-type]
    called: list[Any] = [generator(ctx), asynchronous(ctx)]
    for make in (lambda: ctx.rpc(called[0]), lambda: ctx.detached(called[1])):
        with pytest.raises(ValueError, match="give the function and its arguments"):
            make()
    with pytest.raises(TypeError, match=r"func must be a function or its name, got coroutine: .*\(asynchronous, 4\)"):
        resonate.run("id", cast("Any", asynchronous(ctx)))
