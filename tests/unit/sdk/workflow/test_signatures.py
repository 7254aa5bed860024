"""The types of a function's arguments and result, and the calls of it that are refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import datetime
from typing import Any, Unpack

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateHaltedError, ResonateStoreError, ResultTypeError, SignatureError
from resonate.retry_policies import Constant
from resonate.workflow.signatures import check, signature_of
from resonate_store.model.requests import TaskContinue
from tests.support.driver import Driver, Flow
from tests.support.steps import Flaky, runs
from tests.support.ways import always_three_ways, three_ways
from tests.unit.sdk.payloads.values import NOON, Cart, Colour, Place, Settings


class Order(msgspec.Struct):
    id: str


def generator(
    _: Any, at: datetime, *rest: Place, colour: Colour = Colour.RED, **more: Any
) -> Generator[Any, Any, Order]:
    raise NotImplementedError


def plain(_: Any, first: tuple[int, int], second: Any, third) -> set[int]:  # type: ignore[no-untyped-def]
    raise NotImplementedError


def iterating(_: Any) -> Iterator[int]:
    raise NotImplementedError


def coroutine(_: Any) -> Coroutine[Any, Any, Place]:
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
    assert args == [NOON, Place(1), Place(2)]
    assert kwargs == {"colour": Colour.RED, "more": ["plain"]}
    assert signature_of(plain).arguments([[1, 2], [1, 2], [1, 2]], {})[0] == [(1, 2), [1, 2], [1, 2]]
    assert signature.arguments([], {"at": "2025-06-15T12:00:00Z"}) == ([], {"at": NOON})
    assert signature_of(unannotated).arguments([1, [2], {"x": 3}], {"a": 4}) == ([1, [2], {"x": 3}], {"a": 4})


def test_result_type_is_what_a_caller_gets(subtests: pytest.Subtests) -> None:
    cases: dict[Callable[..., Any], Any] = {
        generator: Order,
        plain: set[int],
        coroutine: Place,
        iterating: Any,
        unannotated: Any,
        misspelt: int,
        len: Any,
    }
    for function, result in cases.items():
        with subtests.test(function.__name__):
            assert signature_of(function).result == result


@three_ways
def test_variable_keyword_arguments_are_restored(resonate: Resonate) -> None:
    def corners(_: Context, x: int, /, **more: Place) -> str:
        return f"{x} {more}"

    def settings(_: Context, **more: Unpack[Settings]) -> str:
        return f"{more}"

    resonate.register(corners)
    resonate.register(settings)

    for call, id in ((resonate.run, "run"), (resonate.rpc, "rpc")):
        # The parameter named x can be given by position only, so that another x is one more.
        assert call(f"{id}-a", "corners", 1, x=Place(2), y=Place(3)) == "1 " + str({"x": Place(2), "y": Place(3)})
        assert call(f"{id}-b", "settings", at=NOON, corner=Place(1)) == str({"at": NOON, "corner": Place(1)})


# Calls that do not fit


def required(_: Any, a: int, b: int = 2) -> int:
    return a + b


def by_position(_: Any, a: int, /, **more: int) -> int:
    return a + sum(more.values())


def by_name(ctx: Any, *, a: int, b: int = 2) -> int:  # noqa: ARG001
    return a + b


def anything(*args: Any) -> int:
    return len(args)


def test_call_fits_a_signature_if_python_says_so(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str | None]] = [
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
    ]
    for function, args, kwargs, problem in cases:
        with subtests.test(function.__name__, args=args, kwargs=kwargs):
            if problem is None:
                check(function, "it", args, kwargs)
                assert isinstance(function(None, *args, **kwargs), int)
            else:
                with pytest.raises(SignatureError, match=f"it cannot be called like this: {problem}"):
                    check(function, "it", args, kwargs)
                with pytest.raises(TypeError):
                    function(None, *args, **kwargs)


@three_ways
def test_call_of_a_client_that_does_not_fit_creates_nothing(resonate: Resonate) -> None:
    function = resonate.register(required)
    unfit: Any = required
    calls: list[Callable[[], Any]] = [lambda: resonate.schedule("a", unfit, "@daily", c=1)]
    for how in ("run", "begin_run", "rpc", "begin_rpc"):
        calls.append(lambda how=how: getattr(resonate, how)("a", required, c=1))
        calls.append(lambda how=how: getattr(function, how)("a", c=1))

    for call in calls:
        with pytest.raises(TypeError, match="required cannot be called like this: it has no parameter 'c'"):
            call()
    with pytest.raises(ResonateStoreError, match="not found"):
        resonate.promises.get("a")


@three_ways
def test_workflow_continues_after_a_call_that_does_not_fit(driver: Driver) -> None:
    driver.register(required)

    def workflow(ctx: Context) -> Flow:
        errors: list[str] = []
        for how in ("run", "begin_run", "rpc", "begin_rpc", "detached"):
            try:
                yield getattr(ctx, how)(required, 1, 2, 3)
            except TypeError as error:
                yield ctx.sleep(60)  # what follows is replayed
                errors.append(str(error))
        return errors

    errors = driver.run("w", workflow)
    assert ["required cannot be called like this: it takes 2 positional" in each for each in errors] == [True] * 5
    assert [record.tags.get("resonate:func") for record in driver.records()].count("required") == 0


@three_ways
def test_async_function_with_an_unfit_call_is_not_retried(driver: Driver) -> None:
    driver.register(required)

    async def workflow(ctx: Context) -> None:
        await ctx.rpc(required)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    with pytest.raises(SignatureError, match="its argument 'a' is missing"):
        driver.run("w", workflow)
    assert driver.clock.now() < 1_000 + driver.record("w").created_at


@three_ways
def test_type_error_from_within_a_function_is_retried(driver: Driver) -> None:
    flaky = Flaky(driver, 2, TypeError("not yet"))

    assert driver.run("w", runs(flaky.step, retry_policy=Constant(delay=1))) == "ok"
    assert flaky.attempts == [1, 2, 3]


# Arguments that are not of the annotated type


def taking(annotation: Any, kind: str = "step", default: Any = ...) -> Callable[..., Any]:
    """Return a function that returns its parameter `cart`, of this type."""

    def step(_: Context, cart: Any) -> Any:
        return cart

    def workflow(ctx: Context, cart: Any) -> Flow:
        yield ctx.sleep(60)
        return cart

    async def asynchronous(ctx: Context, cart: Any) -> Any:
        await ctx.sleep(60)
        return cart

    func = {"step": step, "generator": workflow, "async": asynchronous}[kind]
    func.__annotations__["cart"] = annotation
    if default is not ...:
        func.__defaults__ = (default,)
    return func


@pytest.mark.parametrize("kind", ["step", "generator", "async"])
@always_three_ways
def test_unfit_call_or_argument_is_rejected_at_once(driver: Driver, kind: str) -> None:
    driver.registry.add(taking(Cart, kind), "buy")
    driver.create("v", {"func": "buy", "kwargs": {"b": 1}})
    driver.create("w", {"func": "buy", "kwargs": {"cart": {"lines": [{}]}}})

    assert driver.work() == ["completed", "completed"]
    with pytest.raises(SignatureError, match=r"like this: it(s argument 'cart'| has no parameter 'b')"):
        driver.finish("v")
    with pytest.raises(SignatureError, match=r"buy: cart\.lines\[0\]\.amount: missing"):
        driver.finish("w")


@pytest.mark.parametrize("kind", ["generator", "async"])
@pytest.mark.parametrize("missing", [True, False])
@always_three_ways
def test_execution_with_history_is_halted_until_its_arguments_fit(driver: Driver, kind: str, missing: bool) -> None:
    def more(ctx: Context, cart: Any, more: int) -> Flow:
        raise NotImplementedError

    driver.deploy(buy=taking(Any, kind))
    driver.create("w", {"func": "buy", "args": [{"lines": 1}]})
    driver.work()
    driver.deploy(buy=more if missing else taking(Cart, kind))

    with pytest.raises(ResonateHaltedError, match="'more' is missing" if missing else "buy: cart.lines: expected list"):
        driver.finish("w")
    assert driver.reports[-1].status == "halted"
    driver.deploy(buy=taking(dict[str, int], kind))
    assert driver.store.apply(TaskContinue("w")).ok
    assert driver.finish("w") == {"lines": 1}


def test_execution_whose_first_worker_died_after_a_step_is_halted(driver: Driver) -> None:
    driver.deploy(buy=taking(Cart))
    driver.create("w.1", {"func": "buy", "args": [5]})
    driver.create("w", {"func": "buy", "args": [5]})

    assert sorted(driver.work()) == ["completed", "halted"]


def test_annotation_as_text_is_resolved_or_ignored() -> None:
    instant = "2025-06-15T12:00:00Z"
    assert signature_of(taking("datetime")).arguments([instant], {}, strict=True) == ([NOON], {})
    assert signature_of(taking("list[Nowhere]")).arguments([[1]], {}, strict=True) == ([[1]], {})


@three_ways
def test_none_is_accepted_where_it_is_the_default(driver: Driver) -> None:
    driver.registry.add(taking(int, default=None), "buy")
    driver.create("by-position", {"func": "buy", "args": [None]})
    driver.create("by-name", {"func": "buy", "kwargs": {"cart": None}})

    assert driver.work() == ["completed", "completed"]
    assert driver.finish("by-position") is driver.finish("by-name") is None


def test_annotation_that_cannot_be_resolved_is_logged_once(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    func = taking("Nowhere")
    func.__annotations__["return"] = "int"
    driver.registry.add(func, "buy")
    for id in ("a", "b"):
        driver.create(id, {"func": "buy", "args": [{"x": 1}]})
    driver.work()

    (line,) = [record.message for record in caplog.records if "cannot be resolved" in record.message]
    assert f"the annotation Nowhere of the parameter cart in {__name__}.taking.<locals>.step" in line
    assert signature_of(func).result is int


@three_ways
def test_function_registered_without_validation_accepts_any_argument(resonate: Resonate) -> None:
    resonate.register(taking(Cart), name="buy", validate=False)

    assert resonate.rpc("a", "buy", {"nonsense": 1}) == {"nonsense": 1}


@three_ways
def test_client_gets_the_error_of_an_unfit_argument(resonate: Resonate) -> None:
    buy = resonate.register(name="buy")(taking(int))

    for call in (lambda: buy.run("a", "1"), lambda: buy.rpc("b", "1"), lambda: resonate.rpc("c", "buy", "1")):
        with pytest.raises(SignatureError, match="buy: cart: expected int, got str"):
            call()


def test_reason_of_a_halted_private_task_shows_no_arguments(driver: Driver) -> None:
    driver.worker.private = True
    driver.deploy(buy=taking(Any, "generator"))
    driver.create("w", {"func": "buy", "args": [{"secret": 1}]})
    driver.work()
    driver.deploy(buy=taking(dict[str, str], "generator"))

    with pytest.raises(ResonateHaltedError) as halted:
        driver.finish("w")
    assert halted.value.reason == "[305.00000] the arguments of w do not fit buy"


# Results


@always_three_ways
def test_call_by_name_restores_its_result_type(driver: Driver) -> None:
    driver.registry.add(taking(Any), "echo")

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_rpc("echo", {"x": 2}, result_type=Place)
        found = [(yield ctx.rpc("echo", {"x": 1}, result_type=Place)), (yield promise)]
        return [type(each).__name__ for each in found]

    assert driver.run("w", workflow) == ["Place", "Place"]


@always_three_ways
def test_result_of_another_type_than_requested_halts_the_workflow(driver: Driver) -> None:
    def asking(kind: Any) -> Callable[..., Any]:
        def workflow(ctx: Context) -> Flow:
            return repr((yield ctx.rpc("echo", {"x": 1}, result_type=kind)))

        return workflow

    driver.deploy(w=asking(Cart), echo=taking(Any))
    driver.create("w", {"func": "w"})
    with pytest.raises(ResonateHaltedError, match=r"promise w\.1: result_type does not fit: lines: missing"):
        driver.finish("w")

    driver.deploy(w=asking(Place), echo=taking(Any))
    assert driver.store.apply(TaskContinue("w")).ok
    assert driver.finish("w") == "Place(x=1, y=0)"


@three_ways
def test_client_restores_its_result_type(resonate: Resonate) -> None:
    resonate.register(taking(Any), name="echo")

    assert resonate.rpc("a", "echo", {"x": 1}, result_type=Place) == Place(1)
    assert resonate.begin_rpc("b", "echo", {"x": 1}, result_type=Place).result() == Place(1)
    assert resonate.get("a", result_type=Place).result() == Place(1)
    assert resonate.get("a").result() == {"x": 1}
    with pytest.raises(ResultTypeError, match="promise a: result_type does not fit: lines: missing"):
        resonate.get("a", result_type=Cart).result()
