"""What a workflow is told when the store refuses to create what it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import PayloadTooLargeError, ResonateStoreError
from resonate.testing import MemoryStack
from resonate.threads import Pool
from resonate_store.model.requests import PromiseCreate, PromiseRecord, Request, Response
from tests.support.driver import Driver, Flow
from tests.support.serving import Serving, new_server  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tests.support.ways import three_ways

LONG = "x" * 1_001


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(4, "pool") as pool:
        yield pool


def refuse(*ids: str, status: int = 400) -> Callable[[Request | str], Response | None]:
    """Refuse to create these promises."""

    def answer(request: Request | str) -> Response | None:
        refused = isinstance(request, (PromiseCreate, PromiseRecord)) and request.id in ids
        return Response(status=status, error="not like this") if refused else None

    return answer


def step(_: Context) -> str:
    return "ran"


def nested(ctx: Context) -> Flow:
    return (yield ctx.run(step))


def elsewhere(ctx: Context) -> Any:
    return ctx.begin_rpc("elsewhere").options(target="poll://any@others")


BEGINS: dict[str, Callable[[Context], Any]] = {
    "begin_rpc": elsewhere,
    "begin_rpc with an id": lambda ctx: elsewhere(ctx).options(id="own"),
    "detached": lambda ctx: ctx.detached("elsewhere"),
    "promise": lambda ctx: ctx.promise(),
    "promise with an id": lambda ctx: ctx.promise(id="own"),
}


def id_of(begin: str, spelling: str) -> str:
    if "an id" in begin:
        return "own"
    return "w.1.1" if spelling == "nested" else "w.1"


def beginning(how: str, begin: Callable[[Context], Any], spelling: str) -> Callable[..., Any]:
    """A workflow that begins something, and may catch that it cannot."""

    def generator(ctx: Context) -> Flow:
        try:
            promise = yield begin(ctx)
        except ResonateStoreError as error:
            if how == "uncaught":
                raise
            yield ctx.sleep(60)
            return [error.status, (yield ctx.run(step))]
        return promise.id

    async def asynchronous(ctx: Context) -> Any:
        try:
            promise = await begin(ctx)
        except ResonateStoreError as error:
            if how == "uncaught":
                raise
            await ctx.sleep(60)
            return [error.status, await ctx.run(step)]
        return promise.id

    workflow = asynchronous if spelling == "async" else generator
    if spelling != "nested":
        return workflow

    def above(ctx: Context) -> Flow:
        return (yield ctx.run(generator))

    return above


@pytest.mark.parametrize("spelling", ["generator", "async", "nested"])
@pytest.mark.parametrize("begin", BEGINS)
def test_begun_promise_refused_by_store_is_raised_at_its_yield(driver: Driver, begin: str, spelling: str) -> None:
    driver.tap.answer = refuse(id_of(begin, spelling), status=413)

    assert driver.run("w", beginning("caught", BEGINS[begin], spelling)) == [413, "ran"]


@pytest.mark.parametrize("spelling", ["generator", "async", "nested"])
@pytest.mark.parametrize("begin", BEGINS)
def test_begun_promise_refused_by_store_rejects_its_workflow(driver: Driver, begin: str, spelling: str) -> None:
    driver.tap.answer = refuse(id_of(begin, spelling), status=413)

    with pytest.raises(PayloadTooLargeError):
        driver.run("w", beginning("uncaught", BEGINS[begin], spelling))


@pytest.mark.parametrize("problem", ["address", "id"])
@pytest.mark.parametrize("begin", [Context.begin_rpc, Context.detached], ids=["begin_rpc", "detached"])
@three_ways
def test_begun_call_that_no_store_takes_is_raised_at_its_yield(driver: Driver, begin: Any, problem: str) -> None:
    def workflow(ctx: Context) -> Flow:
        call = begin(ctx, "f")
        try:
            yield call.options(target="ftp://nowhere") if problem == "address" else call.options(id=LONG)
        except ResonateStoreError as error:
            return error.status

    assert driver.run("w", workflow) == 400


def test_begun_call_too_large_in_memory_stack_is_raised_at_its_yield() -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.detached("b", "z" * 6_000_000)
        return promise.id

    with pytest.raises(PayloadTooLargeError):
        MemoryStack().run(workflow)


@pytest.mark.parametrize("problem", ["address", "id", "size"])
def test_call_in_a_row_that_no_store_takes_is_raised_at_its_yield(pool: Pool, problem: str) -> None:
    driver = Driver(requests=pool)
    arguments = {"size": ("z" * 6_000_000,)}.get(problem, ())
    options: dict[str, Any] = {"address": {"target": "ftp://nowhere"}, "id": {"id": LONG}}.get(problem, {})
    if problem == "size":
        driver.tap.answer = refuse("w.2", status=413)

    def workflow(ctx: Context) -> Flow:
        yield ctx.detached("f")
        try:
            yield ctx.detached("f", *arguments).options(**options)
        except ResonateStoreError as error:
            return error.status

    assert driver.run("w", workflow) == (413 if problem == "size" else 400)


@pytest.mark.parametrize("ending", ["step", "await", "return", "promise"])
def test_call_in_a_row_refused_by_store_is_raised_at_next_yield(pool: Pool, ending: str) -> None:
    driver = Driver(requests=pool)
    ran: list[str] = []

    def workflow(ctx: Context) -> Flow:
        first = yield elsewhere(ctx)
        for _ in range(3):
            yield elsewhere(ctx)
        if ending == "step":
            yield ctx.run(lambda _: ran.append("step"))
        elif ending == "await":
            yield first
        elif ending == "promise":
            ran.append((yield ctx.promise()).id)
        return "resolved"

    driver.tap.answer = refuse("w.2", "w.3")
    driver.begin("w", workflow)
    driver.work()
    for promise in ("w.1", "w.4"):
        driver.settle(promise)
    with pytest.raises(ResonateStoreError, match="not like this") as raised:
        driver.finish("w")

    assert ran == []
    assert "the promise w.2 (rpc elsewhere) could not be created" in "".join(raised.value.__notes__)


def test_promise_after_a_call_is_answered_at_its_yield(pool: Pool) -> None:
    driver = Driver(requests=pool)
    found: list[bool] = []

    def workflow(ctx: Context) -> Flow:
        for begin in (elsewhere, lambda ctx: ctx.rpc(nested).options(target="poll://any@default")):
            yield begin(ctx)
            promise = yield ctx.promise()
            found.append(promise.id in driver.ids())
            driver.settle(promise.id)

    driver.register(nested)
    driver.begin("w", workflow)
    driver.work()

    assert set(found) == {True}


def test_refusal_in_a_row_is_raised_at_the_same_yield_on_replay(pool: Pool) -> None:
    driver = Driver(requests=pool)

    def workflow(ctx: Context) -> Flow:
        told: list[Any] = []
        for n in range(4):
            try:
                yield ctx.detached("elsewhere", n)
            except ResonateStoreError:
                told.append(n)
        try:
            yield ctx.run(step)
        except ResonateStoreError:
            told.append("step")
        yield ctx.sleep(60)
        return [*told, (yield ctx.run(step))]

    driver.tap.answer = refuse("w.1", "w.3")

    assert driver.run("w", workflow) == [0, "step", "ran"]


@pytest.mark.parametrize("row", [False, True])
def test_key_conflict_of_begun_call_is_raised_at_the_same_yield_on_replay(pool: Pool, row: bool) -> None:
    driver = Driver(requests=pool)

    def workflow(ctx: Context) -> Flow:
        told: list[Any] = []
        try:
            if row:
                yield ctx.detached("elsewhere")
            yield ctx.detached("elsewhere").options(id="taken", idempotency_key="mine")
        except ResonateStoreError as error:
            told.append(error.code)
        try:
            yield ctx.run(step)
        except ResonateStoreError as error:
            told.append(str(error.code))
        yield ctx.sleep(60)
        return [*told, (yield ctx.run(step))]

    assert driver.store.apply(PromiseCreate("taken", driver.clock.now() + 10**9)).ok

    assert driver.run("w", workflow) == (["100.409", "ran"] if row else [100.409, "ran"])


@pytest.mark.parametrize("how", ["nested", "step with a key", "step"])
def test_local_call_refused_by_store_rejects_the_workflow_that_never_awaits_it(driver: Driver, how: str) -> None:
    def workflow(ctx: Context) -> Flow:
        begun = ctx.begin_run(nested if how == "nested" else step)
        yield begun.options(idempotency_key="k") if how == "step with a key" else begun
        yield ctx.sleep(60)
        return "resolved"

    driver.tap.answer = refuse("w.1")

    with pytest.raises(ResonateStoreError, match="not like this"):
        driver.run("w", workflow)


@pytest.mark.parametrize("begin", [False, True])
@three_ways
def test_local_call_under_too_long_an_id_is_raised_before_it_runs(driver: Driver, begin: bool) -> None:
    ran: list[str] = []

    def workflow(ctx: Context) -> Flow:
        call = ctx.begin_run if begin else ctx.run
        try:
            yield call(lambda _: ran.append("step")).options(id=LONG)
        except ResonateStoreError as error:
            return error.status

    assert driver.run("w", workflow) == 400
    assert ran == []


def test_begun_call_refused_over_http_rejects_its_workflow(serving: Serving) -> None:
    resonate = Resonate.remote(url=serving.url, group="worker", workers=2)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        for n in range(3):
            yield ctx.detached("f", "z" * 3_000_000 if n == 1 else "").options(target="others")
        return "resolved"

    try:
        with pytest.raises(ResonateStoreError) as raised:
            resonate.run("w", workflow)
        assert raised.value.status == 413
    finally:
        resonate.stop()
