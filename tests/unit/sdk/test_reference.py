"""What programs of SDK 0.6.7 rely on (docs/protocol.md 5) and no other module tests."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from threading import Event, Semaphore
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.client.function import Function
from resonate.encoders import JsonEncoder
from resonate.payloads import codec
from resonate.retry_policies import Constant, Exponential, Linear
from resonate.workflow.commands import Sleep
from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseGet
from resonate_store.model.tags import BRANCH, DELAY, ORIGIN, PARENT, PREFIX, SCOPE, TARGET
from tests.support.driver import DAY, Driver, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, begun, double
from tests.support.ways import three_ways

YEAR = 31_536_000
FOREVER = 2**63 - 1


# 5.1 to 5.4, 5.7: what can be passed, and what it is if it is not

CONNECTION = {"dependencies": None, "group": "default", "pid": None, "registry": None, "ttl": 10, "workers": None}
SERVER = dict.fromkeys(["auth", "host", "message_source_port", "store_port"])
OPTIONS = dict.fromkeys(["encoder", "idempotency_key", "retry_policy", "tags", "target", "timeout", "version"])
PROMISE = dict.fromkeys(["id", "timeout", "idempotency_key", "data", "tags"])


def test_public_keywords_have_their_defaults(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (Resonate, {**CONNECTION, "log_level": logging.NOTSET, "message_source": None, "store": None}),
        (Resonate.local, {**CONNECTION, "log_level": logging.INFO}),
        (Resonate.remote, {**CONNECTION, **SERVER, "log_level": logging.INFO}),
        (Resonate.options, OPTIONS),
        (Function.options, OPTIONS),
        (Resonate.register, {"name": None, "version": 1}),
        (Context.promise, PROMISE),
    ]
    for function, keywords in cases:
        with subtests.test(function.__qualname__):
            parameters = inspect.signature(function).parameters

            found = {name: parameters[name].default for name in keywords}
            assert found == keywords
            assert {parameters[name].kind for name in keywords} == {inspect.Parameter.KEYWORD_ONLY}


def test_retry_policies_take_their_settings_in_order() -> None:
    assert Constant() == Constant(1, FOREVER) == Constant(delay=1, max_retries=FOREVER)
    assert Linear() == Linear(1, FOREVER) == Linear(delay=1, max_retries=FOREVER)
    assert Exponential() == Exponential(1, FOREVER, 2, 30)
    assert Exponential(3, 4, 5, 6) == Exponential(delay=3, max_retries=4, factor=5, max_delay=6)


def test_process_has_its_own_id_and_leases_of_ten_seconds() -> None:
    held: list[Any] = []
    store = MemoryStore()
    for _ in range(2):
        resonate = Resonate(store=store)
        resonate.register(lambda ctx: held.append(present(store.record(ctx.id)).task), name="look")
        resonate.run(f"w{len(held)}", "look")
        resonate.stop()

    assert [task.ttl for task in held] == [10_000, 10_000]
    assert len({task.pid for task in held}) == 2
    assert all(len(task.pid) == 32 and int(task.pid, 16) for task in held)


def test_workers_default_to_the_cpus_up_to_32(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, threads in ((None, 1), (4, 4), (64, 32)):
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        resonate, running, enough = Resonate.local(), Semaphore(0), Event()

        def function(_: Context, running: Semaphore = running, enough: Event = enough) -> None:
            running.release()
            assert enough.wait(10)

        resonate.register(function)
        handles = [resonate.begin_rpc(f"w{n}", "function") for n in range(threads + 2)]
        assert all(running.acquire(timeout=10) for _ in range(threads))
        assert not running.acquire(timeout=0.1)
        enough.set()
        for handle in handles:
            handle.result(10)
        resonate.stop()


@three_ways
def test_client_can_be_started_twice(resonate: Resonate) -> None:
    resonate.register(double)
    resonate.start()
    resonate.start()

    assert resonate.run("w", double, 2) == 4


# 5.1, 5.5: what is recorded of a call


def promise_of(resonate: Resonate, id: str) -> PromiseView:
    return present(resonate.store.apply(PromiseGet(id)).promise)


@pytest.mark.parametrize("how", ["begin_run", "begin_rpc"])
@three_ways
def test_record_of_a_client_call_has_param_tags_and_timeout(resonate: Resonate, how: str) -> None:
    resonate.register(double, version=3)
    taken = {"mine": "x", PARENT: "forged", SCOPE: "forged", TARGET: "forged"}
    getattr(resonate.options(tags=taken), how)("w", double, n=2).result(PATIENCE)

    promise = promise_of(resonate, "w")
    assert codec.decode(promise.param) == {"func": "double", "args": [], "kwargs": {"n": 2}, "version": 3}
    own = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), "w")
    assert promise.tags.items() >= {**own, "mine": "x", SCOPE: "global", TARGET: "poll://any@default"}.items()
    assert promise.timeout_at - promise.created_at == pytest.approx(YEAR * 1000, abs=1_000)


def every_call(ctx: Context, seconds: float | None = None) -> Flow:
    options: dict[str, Any] = {} if seconds is None else {"timeout": seconds}
    yield ctx.run(double, 1).options(**options)
    yield ctx.begin_rpc("theirs", 1).options(**options)
    yield ctx.detached("theirs", 1).options(**options)
    yield ctx.promise(data={"ask": 1}, timeout=seconds)
    yield ctx.sleep(seconds or 60)


@three_ways
def test_record_of_each_command_has_param_tags_and_timeout(driver: Driver) -> None:
    driver.register(double)
    driver.start("w", every_call, timeout=2 * YEAR)

    promises = [driver.promise(f"w.{n}") for n in range(1, 6)]
    call = {"func": "theirs", "args": [1], "kwargs": {}, "version": 1}
    assert [codec.decode(each.param) for each in promises] == [None, call, call, {"ask": 1}, None]
    # `test_stored_tags` has the other tags. A detached call is an origin.
    assert [each.tags[ORIGIN] for each in promises] == ["w", "w", "w.3", "w", "w"]
    assert [each.tags.get(TARGET) for each in promises] == [None, *[driver.rpc_target] * 2, None, None]
    lives = [each.timeout_at - each.created_at for each in promises]
    assert lives == [*[YEAR * 1000] * 4, 60_000]
    assert DELAY not in promises[1].tags


@three_ways
def test_timeout_of_attached_calls_ends_with_their_caller(driver: Driver) -> None:
    for id, seconds in (("v", None), ("w", 500.0)):
        driver.start(id, every_call, seconds, timeout=30.0)
        end = driver.promise(id).timeout_at
        assert [driver.promise(f"{id}.{n}").timeout_at - end for n in (1, 2, 4, 5)] == [0] * 4
        assert driver.promise(f"{id}.3").timeout_at - end == ((seconds or YEAR) - 30) * 1000


# 5.7: the policy is the executor's


@three_ways
def test_retry_policy_of_a_client_is_not_for_remote_calls(resonate: Resonate) -> None:
    attempts: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        attempts.append(ctx.info.attempt)
        yield ctx.time.time()
        raise ValueError("no")

    patient = resonate.options(retry_policy=Constant(0, 2))
    with pytest.raises(ValueError, match="no"):
        patient.rpc("a", workflow)
    assert attempts == [1]
    with pytest.raises(ValueError, match="no"):
        patient.run("b", workflow)
    assert attempts == [1, 1, 2, 3]


# 5.14: versions


@three_ways
def test_execution_keeps_the_version_it_was_started_with(driver: Driver) -> None:
    def answering(name: str) -> Callable[..., Flow]:
        def workflow(ctx: Context) -> Flow:
            yield ctx.sleep(DAY / 2)
            return [name, ctx.info.version]

        return workflow

    driver.registry.add(answering("first"), "f", 1)
    driver.create("w", {"func": "f", "version": driver.registry.latest("f")})
    driver.work()
    driver.registry.add(answering("second"), "f", 2)
    driver.create("v", {"func": "f", "version": driver.registry.latest("f")})
    driver.create("u", {"func": "f"})

    assert [driver.finish(id) for id in ("w", "v", "u")] == [["first", 1], ["second", 2], ["second", 2]]


@three_ways
def test_workflow_calls_the_version_that_it_names(driver: Driver) -> None:
    def one(ctx: Context) -> list[Any]:
        return ["one", ctx.info.version]

    def two(ctx: Context) -> list[Any]:
        return ["two", ctx.info.version]

    def workflow(ctx: Context) -> Flow:
        old = ctx.rpc("f").options(version=1)
        found = yield from begun((ctx.rpc(one), ctx.rpc("f"), ctx.rpc(one).options(version=2), old, ctx.run(one)))
        unknown = yield ctx.begin_rpc("theirs")
        return [*found, unknown.id]

    driver.registry.add(one, "f", 1)
    driver.registry.add(two, "f", 2)
    driver.start("w", workflow)
    driver.settle("w.6")

    assert driver.finish("w") == [["one", 1], ["two", 2], ["two", 2], ["one", 1], ["one", 1], "w.6"]
    assert codec.decode(driver.promise("w.6").param)["version"] == 1


@three_ways
def test_options_of_calls_are_ignored_by_promise_and_sleep(driver: Driver) -> None:
    """A promise ignores target and version, a sleep everything but the id."""
    remote: dict[str, Any] = {"tags": {"a": "b"}, "target": "elsewhere", "timeout": 60.0, "version": 3}

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise().options(**remote)
        yield ctx.sleep(5).options(id="nap", encoder=JsonEncoder(), idempotency_key="k", **remote)
        return (yield promise)

    driver.start("w", workflow)
    driver.settle("w.1", "yes")

    assert driver.finish("w") == "yes"
    assert driver.elapsed() == 5
    assert TARGET not in driver.promise("w.1").tags
    assert driver.promise("w.1").tags["a"] == "b"
    assert "a" not in driver.promise("nap").tags
    with pytest.raises(TypeError, match="target must be `str`, got int"):
        Sleep(1).options(target=5)  # type: ignore[arg-type]
