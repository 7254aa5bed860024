"""Idempotency keys of calls: the same key finds what exists, another is refused."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate.promises import Promises
from resonate_store.model.requests import PromiseCreate, PromiseGet, TaskGet
from tests.support.driver import Driver, Flow
from tests.support.ways import always_three_ways, three_ways
from tests.unit.sdk.conftest import Connect

PATIENCE = 10.0
LATER = 2**50
HOWS = ["run", "begin_run", "rpc", "begin_rpc"]
ELSEWHERE = "lambda://nobody"
"""An address that the deployment knows no function for."""


@pytest.fixture
def resonate(connect: Connect) -> Resonate:
    made = connect(log_level="ERROR")
    made.register(double)
    return made


def double(_: Context, n: int) -> int:
    return 2 * n


def call(resonate: Resonate, how: str, id: str, *args: Any) -> Any:
    outcome = getattr(resonate, how)(id, "double", *args)
    return outcome.result(PATIENCE) if how.startswith("begin") else outcome


def conflict(error: pytest.ExceptionInfo[ResonateStoreError], id: str) -> bool:
    return (error.value.code, error.value.status, error.value.details) == (100.409, 409, {"id": id})


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (None, None, True),
        ("k", "k", True),
        (None, "a", True),
        ("a", None, True),
        ("k", None, False),
        (None, "k", False),
        ("k", "other", False),
        (lambda id: f"{id}!", "a!", True),
        (lambda id: f"{id}!", lambda id: f"{id}?", False),
    ],
)
@three_ways
def test_calling_again(resonate: Resonate, how: str, first: Any, second: Any, alike: bool) -> None:
    assert call(resonate.options(idempotency_key=first), how, "a", 1) == 2

    if alike:
        assert call(resonate.options(idempotency_key=second), how, "a", 5) == 2
    else:
        with pytest.raises(ResonateStoreError, match="The specified promise already exists") as caught:
            call(resonate.options(idempotency_key=second), how, "a", 5)
        assert conflict(caught, "a")


@pytest.mark.parametrize("how", HOWS)
@three_ways
def test_a_call_that_is_refused_leaves_the_task_to_others(connect: Connect, how: str) -> None:
    resonate = connect(log_level="ERROR", group="worker")
    resonate.register(double)
    elsewhere = resonate.options(idempotency_key="k", target=ELSEWHERE)
    elsewhere.begin_rpc("a", "double", 1)
    with pytest.raises(ResonateStoreError):
        call(resonate, how, "a", 5)
    task = resonate.store.apply(TaskGet("a")).task
    assert task is not None
    assert task.state == "pending"


@pytest.mark.parametrize("how", ["run", "rpc"])
@three_ways
def test_a_function_and_the_context_have_the_key(resonate: Resonate, how: str) -> None:
    seen: list[str | None] = []

    def step(ctx: Context) -> None:
        seen.append(ctx.info.idempotency_key)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        seen.append(ctx.info.idempotency_key)
        yield ctx.run(step).options(idempotency_key=lambda id: f"key of {id}")
        yield ctx.run(step)

    getattr(workflow.options(idempotency_key="mine"), how)("w")

    assert seen == ["mine", "key of w.1", "w.2"]
    assert resonate.promises.get("w").ikey_for_create == "mine"
    assert resonate.promises.get("w.1").ikey_for_create == "key of w.1"
    assert resonate.promises.get("w.2").ikey_for_create == "w.2"


@three_ways
def test_the_outcome_of_a_call_is_settled_with_its_id(resonate: Resonate) -> None:
    assert resonate.run("a", double, 1) == 2

    assert resonate.promises.resolve("a", ikey="a", data="9").value.data == "2"
    with pytest.raises(ResonateStoreError, match="already resolved") as caught:
        resonate.promises.resolve("a", ikey="other")
    assert str(caught.value).startswith("[100.40301]")


# In workflows


@pytest.mark.parametrize(
    ("existing", "key", "alike"),
    [
        ({}, None, True),
        ({}, "k", False),
        ({"ikey": "p"}, None, True),
        ({"ikey": "p"}, "p", True),
        ({"ikey": "k"}, "k", True),
        ({"ikey": "k"}, None, False),
        ({"ikey": "k"}, "other", False),
    ],
)
@three_ways
def test_a_promise_by_name(driver: Driver, existing: dict[str, str], key: str | None, alike: bool) -> None:
    promises = Promises(driver.store)
    promises.create("p", LATER, **existing)
    promises.resolve("p", data='"settled"')

    def command(ctx: Context) -> Any:
        return ctx.promise(id="p", idempotency_key=key)

    def workflow(ctx: Context) -> Flow:
        try:
            found = yield (yield command(ctx))
        except ResonateStoreError as error:
            found = [error.code, error.details]
        yield ctx.sleep(60)
        return found

    assert driver.run("w", workflow) == ("settled" if alike else [100.409, {"id": "p"}])


@pytest.mark.parametrize("kind", ["run", "begin_run", "rpc", "begin_rpc", "promise"])
@three_ways
def test_another_key_is_refused_and_replay_finds_the_same_even_when_the_promise_is_gone(
    driver: Driver, kind: str
) -> None:
    driver.store.apply(PromiseCreate("p", LATER, tags={"resonate:idempotency-key": "theirs"}))

    def command(ctx: Context) -> Any:
        if kind == "promise":
            return ctx.promise(id="p", idempotency_key="mine")
        func: Any = double if "run" in kind else "double"
        return getattr(ctx, kind)(func, 1).options(id="p", idempotency_key="mine")

    def workflow(ctx: Context) -> Flow:
        try:
            found = yield command(ctx)
            found = (yield found) if kind.startswith(("begin", "promise")) else found
        except ResonateStoreError as error:
            found = [error.code, error.details]
        yield ctx.sleep(60)
        return found

    driver.begin("w", workflow)
    driver.work()
    driver.expire("p")

    assert driver.finish("w") == [100.409, {"id": "p"}]
    assert driver.store.apply(PromiseGet("p")).status == 404


@always_three_ways
def test_a_key_is_kept_with_every_kind_of_call(driver: Driver) -> None:
    driver.register(double)

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(double, 1).options(idempotency_key="k1")
        yield ctx.begin_rpc("double", 1).options(idempotency_key="k2")
        yield ctx.promise(idempotency_key="k3")
        yield ctx.detached("double", 1).options(idempotency_key="k4")

    driver.begin("w", workflow)
    driver.work()

    kept = {record.id: record.tags.get("resonate:idempotency-key") for record in driver.records()}
    assert {id: key for id, key in kept.items() if key} == {"w.1": "k1", "w.2": "k2", "w.3": "k3", "w.4": "k4"}
