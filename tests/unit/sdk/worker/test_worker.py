"""Offers that a worker accepts, releases or loses, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateHaltedError
from resonate.payloads import codec
from resonate.workflow.options import Options
from resonate_store.interface import StoreError
from resonate_store.model.records import Value
from resonate_store.model.requests import Request, Response, TaskContinue
from resonate_store.model.tags import TARGET
from tests.support.driver import TTL, Driver, Drivers, Flow
from tests.support.present import present
from tests.support.steps import ONCE, double
from tests.support.ways import three_ways


def test_offered_task_is_acquired_and_fulfilled(driver: Driver) -> None:
    assert driver.start("w", double, 2) == ["completed"]
    promise, task = driver.promise("w"), present(driver.task("w"))
    assert (promise.state, codec.decode(promise.value)) == ("resolved", 4)
    assert (task.state, task.version) == ("fulfilled", 1)
    assert driver.tap.kinds() == ["task.acquire", "task.fulfill"]


def test_repeated_or_unknown_offer_is_lost(driver: Driver) -> None:
    driver.begin("w", double, 2)
    driver.offers.extend([driver.offers[0]] * 2)

    assert driver.work() == ["completed", "lost", "lost"]
    assert driver.worker.run("nothing", 0, TTL).status == "lost"


CALLS: list[tuple[Any, str]] = [
    ({"func": "absent"}, "function absent not found in registry"),
    ({"func": "double", "version": 7}, "function double version 7 not found in registry"),
    ({"func": 5}, r"the param of promise w is not a call \(.*func"),
    ({"func": "double", "args": 5}, r"the param of promise w is not a call \(.*args"),
    ({"func": "double", "kwargs": [1]}, r"the param of promise w is not a call \(.*kwargs"),
    ({"func": "double", "version": "x"}, r"the param of promise w is not a call \(.*version"),
    ("double", r"the param of promise w is not a call \("),
    (None, r"the param of promise w is not a call \("),
    (Value(data="bm90IGpzb24="), "its data, 8 bytes, is not JSON text"),
    (Value(data="x"), "its data, 1 characters, is not the base64 of JSON text"),
    (Value(data="W1tb" * 40_000), "its data, 120000 bytes, is not JSON text"),
]


def test_call_that_cannot_be_made_is_halted_after_ten_attempts(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for call, error in CALLS:
        with subtests.test(error):
            driver = drivers()
            driver.register(double)
            driver.create("w", call)

            with pytest.raises(ResonateHaltedError, match=rf"(?s)halted after 10 attempts without progress.*{error}"):
                driver.finish("w")
            assert [report.status for report in driver.reports] == ["released"] * 10
            assert driver.elapsed() > 60, "attempts are spread over time"
            task = present(driver.task("w"))
            assert (task.state, task.attempts) == ("halted", 10)
            # The function is deployed, and the task continued.
            driver.deploy(absent=double)
            driver.store.apply(TaskContinue("w"))
            driver.work()


@pytest.mark.parametrize(
    ("func", "target", "hint"),
    [
        ("absent", "poll://any@shop", "has it, give each program a group of its own"),
        ("dubble", "poll://any@shop", "did you mean 'double'?"),  # the error suggests a similar name instead
        ("absent", "lambda://shop", "register it by @resonate.register in this program"),
    ],
)
def test_worker_without_the_function_names_its_group(driver: Driver, func: str, target: str, hint: str) -> None:
    driver.register(double)
    driver.create("w", {"func": func}, tags={TARGET: target})
    driver.work()

    error = str(driver.reports[0].error)
    assert error.startswith(f"function {func} not found in registry: it has double")
    assert error.endswith(hint)
    assert ("another program of the group 'shop'" in error) is ("give each program" in hint)


@three_ways
def test_function_registered_after_a_release_is_run(driver: Driver) -> None:
    driver.create("w", {"func": "double", "args": [4]})
    assert set(driver.work()) == {"released"}
    driver.register(double)

    assert driver.finish("w") == 8


@three_ways
def test_call_from_another_sdk_needs_only_a_function(driver: Driver) -> None:
    driver.registry.add(lambda _: "hello", "hello")
    calls: list[dict[str, Any]] = [{"func": "hello"}, {"func": "hello", "args": None, "kwargs": None, "version": None}]
    for number, call in enumerate(calls):
        driver.create(f"w{number}", call)
        assert driver.finish(f"w{number}") == "hello"


def test_request_that_fails_once_releases_the_task(drivers: Drivers, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        yield ctx.sleep(10)

    def failing(kind: str, failure: Response | StoreError) -> Callable[[Request | str], Response | None]:
        failures = [failure]

        def fails_once(request: Request | str) -> Response | None:
            if isinstance(request, str) or request.kind != kind or not failures:
                return None
            if isinstance(failure := failures.pop(), StoreError):
                raise failure
            return failure

        return fails_once

    failures = (Response(status=503, error="too busy"), StoreError("no table"))
    for kind, failure in product(("promise.record", "promise.create", "task.suspend", "task.fulfill"), failures):
        with subtests.test(kind, failure=str(failure)):
            driver = drivers()
            driver.tap.answer = failing(kind, failure)
            assert driver.run("w", workflow) is None
            [reason] = [report.error for report in driver.reports if report.status == "released"]
            assert ("too busy" if isinstance(failure, Response) else "no table") in str(reason)


def test_task_is_offered_again_after_its_store_was_unreachable(driver: Driver) -> None:
    def gone(_: Request | str) -> Response | None:
        raise StoreError("no table")

    driver.tap.answer = gone
    driver.begin("w", double, 1)
    with pytest.raises(StoreError, match="no table"):
        driver.invoke()
    driver.tap.answer = lambda _: None

    assert driver.finish("w") == 2


def test_worker_remembers_options_of_the_latest_calls_only(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.worker.worker.MOST_REMEMBERED", 2)
    for id in ("a", "b", "c"):
        driver.worker.remember(id, Options(retry_policy=ONCE))
    driver.worker.remember("d", Options(timeout=1))

    assert list(driver.worker.options) == ["b", "c"]
