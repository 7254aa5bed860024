"""Commands whose promise the store refuses to create, and where their workflow gets the error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import PayloadTooLargeError, ResonateStoreError
from resonate.threads import Pool
from resonate_store.model.requests import PromiseCreate, PromiseRecord, Request, Response
from tests.support.driver import Driver, Drivers, Flow
from tests.support.serving import Serving
from tests.support.steps import Diary, begun, caught, double
from tests.support.ways import three_ways

LONG = "x" * 1_001


def refuse(*ids: str, status: int = 400) -> Callable[[Request | str], Response | None]:
    """Refuse to create the promises with these ids."""

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
    "rpc": lambda ctx: ctx.rpc("elsewhere"),
    "sleep": lambda ctx: ctx.sleep(10),
    "run of a workflow": lambda ctx: ctx.run(nested),
}


def beginning(caught: bool, begin: Callable[[Context], Any], spelling: str) -> Callable[..., Any]:
    """Return a workflow that begins something, and may catch that it cannot."""

    def generator(ctx: Context) -> Flow:
        try:
            promise = yield begin(ctx)
        except ResonateStoreError as error:
            if not caught:
                raise
            yield ctx.sleep(60)
            return [error.mesg, error.status, (yield ctx.run(step))]
        return promise.id

    async def asynchronous(ctx: Context) -> Any:
        try:
            promise = await begin(ctx)
        except ResonateStoreError as error:
            if not caught:
                raise
            await ctx.sleep(60)
            return [error.mesg, error.status, await ctx.run(step)]
        return promise.id

    def above(ctx: Context) -> Flow:
        return (yield ctx.run(generator))

    return {"async": asynchronous, "nested": above}.get(spelling, generator)


def test_refused_creation_is_raised_at_its_yield(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for begin, spelling in product(BEGINS, ("generator", "async", "nested")):
        with subtests.test(begin, spelling=spelling):
            refused = "own" if "with an id" in begin else "w.1.1" if spelling == "nested" else "w.1"
            for status in (400, 413):
                driver = drivers()
                driver.tap.answer = refuse(refused, status=status)
                result = driver.run("w", beginning(True, BEGINS[begin], spelling))
                assert result == ["not like this", status, "ran"]
            driver = drivers()
            driver.tap.answer = refuse(refused, status=413)
            with pytest.raises(PayloadTooLargeError):
                driver.run("w", beginning(False, BEGINS[begin], spelling))


@three_ways
def test_invalid_target_or_id_is_raised_at_its_yield(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        local = diary.step("local")
        calls = [call.options(target="ftp://nowhere") for call in (ctx.rpc("f"), ctx.begin_rpc("f"), ctx.detached("f"))]
        begins = (ctx.begin_rpc("f"), ctx.detached("f"), ctx.run(local), ctx.begin_run(local))
        refused = []
        for call in (*calls, *(begin.options(id=f"{LONG}{number}") for number, begin in enumerate(begins))):
            error = yield from caught(call, ResonateStoreError)
            refused.append([error.code, error.mesg])
        return refused

    refused = driver.run("w", workflow)

    assert [code for code, _ in refused] == [100.4] * 7
    assert all("'ftp://nowhere' is not an address" in message for _, message in refused[:3])
    assert diary == []


def test_invalid_call_in_a_row_is_raised_at_its_yield(pool: Pool, subtests: pytest.Subtests) -> None:
    problems: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
        "address": ((), {"target": "ftp://nowhere"}, 400),
        "id": ((), {"id": LONG}, 400),
        "size": (("z" * 6_000_000,), {}, 413),
    }

    def workflow(ctx: Context, problem: str) -> Flow:
        arguments, options, _ = problems[problem]
        yield ctx.detached("f")
        return (yield from caught(ctx.detached("f", *arguments).options(**options), ResonateStoreError)).status

    for problem, (*_, status) in problems.items():
        with subtests.test(problem):
            driver = Driver(requests=pool)
            if problem == "size":
                driver.tap.answer = refuse("w.2", status=413)
            assert driver.run("w", workflow, problem) == status


def test_refused_call_in_a_row_is_raised_at_next_yield(pool: Pool, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, ending: str) -> Flow:
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

    for ending in ("step", "await", "return", "promise"):
        with subtests.test(ending):
            ran: list[str] = []
            driver = Driver(requests=pool)
            driver.tap.answer = refuse("w.2", "w.3")
            driver.start("w", workflow, ending)
            for promise in ("w.1", "w.4"):
                driver.settle(promise)
            with pytest.raises(ResonateStoreError, match="not like this") as raised:
                driver.finish("w")
            assert ran == []
            assert "the promise w.2 (rpc elsewhere) could not be created" in "".join(raised.value.__notes__)


def test_refused_call_in_a_row_is_raised_at_its_await(pool: Pool) -> None:
    driver = Driver(requests=pool)

    def workflow(ctx: Context) -> Flow:
        results = []
        for promise in (yield from begun(ctx.begin_rpc(double, n) for n in range(3))):
            result = yield from caught(promise, ResonateStoreError)
            results.append(getattr(result, "mesg", result))
        return results

    driver.register(double)
    driver.tap.answer = refuse("w.2")

    assert driver.run("w", workflow) == ["not like this", "not like this", 4]


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
    driver.start("w", workflow)

    assert set(found) == {True}


def test_refused_call_in_a_row_is_replayed_at_its_yield(pool: Pool) -> None:
    driver = Driver(requests=pool)

    def workflow(ctx: Context) -> Flow:
        calls = [*(ctx.detached("elsewhere", n) for n in range(4)), ctx.run(step)]
        raised: list[Any] = []
        for n, call in enumerate(calls):
            if isinstance((yield from caught(call, ResonateStoreError)), ResonateStoreError):
                raised.append(n)
        yield ctx.sleep(60)
        return [*raised, (yield ctx.run(step))]

    driver.tap.answer = refuse("w.1", "w.3")

    assert driver.run("w", workflow) == [0, 4, "ran"]


def test_key_conflict_of_begun_call_is_replayed_at_its_yield(pool: Pool) -> None:
    def workflow(ctx: Context, row: bool) -> Flow:
        raised: list[Any] = []
        if row:
            yield ctx.detached("elsewhere")
        for call in (ctx.detached("elsewhere").options(id="taken", idempotency_key="mine"), ctx.run(step)):
            found = yield from caught(call, ResonateStoreError)
            raised.append(getattr(found, "code", None))
        yield ctx.sleep(60)
        return [*raised, (yield ctx.run(step))]

    for row, raised in ((False, [100.409, None]), (True, [None, 100.409])):
        driver = Driver(requests=pool)
        assert driver.store.apply(PromiseCreate("taken", driver.clock.now() + 10**9)).ok
        assert driver.run("w", workflow, row) == [*raised, "ran"]


def test_refused_local_call_rejects_a_workflow_that_never_awaits_it(
    drivers: Drivers, subtests: pytest.Subtests
) -> None:
    def workflow(ctx: Context, how: str) -> Flow:
        begun = ctx.begin_run(nested if how == "nested" else step)
        yield begun.options(idempotency_key="k") if how == "step with a key" else begun
        yield ctx.sleep(60)
        return "resolved"

    for how in ("nested", "step with a key", "step"):
        with subtests.test(how):
            driver = drivers()
            driver.tap.answer = refuse("w.1")
            with pytest.raises(ResonateStoreError, match="not like this"):
                driver.run("w", workflow, how)


def test_error_of_a_workflow_counts_before_a_refused_call(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(step)
        yield ctx.sleep(60)
        raise KeyError("its own error")

    driver.tap.answer = refuse("w.1")
    with pytest.raises(KeyError, match="its own error"):
        driver.run("w", workflow)


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
