"""Idempotency keys of calls: the same key finds what exists, another is refused."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate.promises import Promises
from resonate_store.model.requests import PromiseCreate, PromiseGet, TaskGet
from resonate_store.model.tags import DELAY, IDEMPOTENCY_KEY, TARGET
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, caught, double
from tests.support.ways import always_three_ways, three_ways
from tests.unit.sdk.conftest import Connect

LATER = 2**50
HOWS = ["run", "begin_run", "rpc", "begin_rpc"]
ELSEWHERE = "lambda://nobody"
"""An address that the deployment knows no function for."""


@pytest.fixture
def resonate(connect: Connect) -> Resonate:
    made = connect(log_level="ERROR")
    made.register(double)
    return made


def call(resonate: Resonate, how: str, id: str, *args: Any) -> Any:
    outcome = getattr(resonate, how)(id, "double", *args)
    return outcome.result(PATIENCE) if how.startswith("begin") else outcome


def shown(error: ResonateStoreError) -> list[Any]:
    return [error.code, error.details]


KEYS: list[tuple[Any, Any, bool]] = [
    (None, None, True),
    ("k", "k", True),
    (None, "{id}", True),
    ("{id}", None, True),
    ("k", None, False),
    (None, "k", False),
    ("k", "other", False),
    (lambda id: f"{id}!", "{id}!", True),
    (lambda id: f"{id}!", lambda id: f"{id}?", False),
]
"""Keys of a first and of a second call, and whether the second one finds the first. The default key is the id."""


@pytest.mark.parametrize("how", HOWS)
@three_ways
def test_call_with_equal_key_finds_what_exists(resonate: Resonate, how: str, subtests: pytest.Subtests) -> None:
    for number, (first, second, alike) in enumerate(KEYS):
        id = f"call-{number}"
        keys = [key.format(id=id) if isinstance(key, str) else key for key in (first, second)]
        with subtests.test(first=first, second=second):
            assert call(resonate.options(idempotency_key=keys[0]), how, id, 1) == 2
            again = resonate.options(idempotency_key=keys[1])
            if alike:
                assert call(again, how, id, 5) == 2
            else:
                with pytest.raises(ResonateStoreError, match="The specified promise already exists") as refused:
                    call(again, how, id, 5)
                assert (refused.value.status, *shown(refused.value)) == (409, 100.409, {"id": id})


@three_ways
def test_refused_call_does_not_acquire_the_task(connect: Connect, subtests: pytest.Subtests) -> None:
    resonate = connect(log_level="ERROR", group="worker")
    resonate.register(double)
    # The program may serve the target as well, so the task is not offered before the end of the test.
    tags = {TARGET: ELSEWHERE, DELAY: str(LATER - 1), IDEMPOTENCY_KEY: "k"}
    for how in HOWS:
        with subtests.test(how):
            resonate.store.apply(PromiseCreate(how, LATER, tags=tags))
            with pytest.raises(ResonateStoreError):
                call(resonate, how, how, 5)
            assert present(resonate.store.apply(TaskGet(how)).task).state == "pending"


@pytest.mark.parametrize("how", ["run", "rpc"])
@three_ways
def test_idempotency_key_is_in_the_context_and_the_record(resonate: Resonate, how: str) -> None:
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
    assert [resonate.promises.get(id).ikey_for_create for id in ("w", "w.1", "w.2")] == seen


@three_ways
def test_call_settles_its_promise_with_its_id_as_key(resonate: Resonate) -> None:
    assert resonate.run("a", double, 1) == 2

    assert resonate.promises.resolve("a", ikey="a", data="9").value.data == "2"
    with pytest.raises(ResonateStoreError, match="already resolved") as refused:
        resonate.promises.resolve("a", ikey="other")
    assert str(refused.value).startswith("[100.40301]")


# In workflows


@three_ways
def test_promise_command_finds_a_promise_with_equal_key(driver: Driver, subtests: pytest.Subtests) -> None:
    promises = Promises(driver.store)

    def workflow(ctx: Context, id: str, key: str | None) -> Flow:
        found = yield from caught(ctx.promise(id=id, idempotency_key=key), ResonateStoreError)
        result = shown(found) if isinstance(found, ResonateStoreError) else (yield found)
        yield ctx.sleep(60)
        return result

    cases: list[tuple[str | None, str | None, bool]] = [
        (None, None, True),
        (None, "k", False),
        ("{id}", None, True),
        ("{id}", "{id}", True),
        ("k", "k", True),
        ("k", None, False),
        ("k", "other", False),
    ]
    for number, (existing, key, alike) in enumerate(cases):
        with subtests.test(existing=existing, key=key):
            id = f"p{number}"
            promises.create(id, LATER, ikey=existing.format(id=id) if existing else None)
            promises.resolve(id, data='"settled"')
            found = driver.run(f"w{number}", workflow, id, key.format(id=id) if key else None)
            assert found == ("settled" if alike else [100.409, {"id": id}])


@three_ways
def test_replay_repeats_the_refusal_of_another_key(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, kind: str) -> Flow:
        call: Any = [double if "run" in kind else "double", 1] if kind != "promise" else []
        found = getattr(ctx, kind)(*call).options(id=kind, idempotency_key="mine")
        while not isinstance(found, ResonateStoreError):
            found = yield from caught(found, ResonateStoreError)
        yield ctx.sleep(60)
        return shown(found)

    for kind in (*HOWS, "promise"):
        with subtests.test(kind):
            driver.store.apply(PromiseCreate(kind, LATER, tags={"resonate:idempotency-key": "theirs"}))
            driver.start(f"w-{kind}", workflow, kind)
            driver.expire(kind)
            assert driver.finish(f"w-{kind}") == [100.409, {"id": kind}]
            assert driver.store.apply(PromiseGet(kind)).status == 404


@always_three_ways
def test_idempotency_key_is_stored_with_every_kind_of_call(driver: Driver) -> None:
    driver.register(double)

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(double, 1).options(idempotency_key="k1")
        yield ctx.begin_rpc("double", 1).options(idempotency_key="k2")
        yield ctx.promise(idempotency_key="k3")
        yield ctx.detached("double", 1).options(idempotency_key="k4")

    driver.start("w", workflow)

    kept = {record.id: record.tags.get("resonate:idempotency-key") for record in driver.records()}
    assert {id: key for id, key in kept.items() if key} == {"w.1": "k1", "w.2": "k2", "w.3": "k3", "w.4": "k4"}
