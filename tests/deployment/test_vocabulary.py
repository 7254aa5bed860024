"""Tests that use `Stack`, in memory and through the Lambda handlers."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from resonate.testing import Difference, History, MemoryStack, Stack, Stuck, replay
from resonate_infra.testing.stack import OfflineStack
from tests.support import journal
from tests.support.worker_code import workflows
from tests.support.worker_code.workflows import approval, catching, fan_out, inquiry, journey, nap


@pytest.fixture(params=["memory", "offline"])
def each(request: pytest.FixtureRequest) -> Iterator[Stack]:
    journal.clear()
    if request.param == "memory":
        with MemoryStack(workflows.resonate) as memory:
            yield memory
    else:
        offline: OfflineStack = request.getfixturevalue("stack")
        offline.processes.forget_all()
        yield offline
        offline.clear()


def test_sleep_of_a_month_ends_on_time(each: Stack) -> None:
    began = each.clock.now()
    assert each.run(nap, 30 * 86_400.0, id="n1") == "slept for 2592000.0 seconds"
    assert 0 <= each.clock.now() - began - 30 * 86_400_000 < 2_000
    assert each.history("n1").commands == ["a sleep"]
    assert each.requests["task.acquire"] == 2
    assert each.requests["task.suspend"] == 1


def test_advance_moves_the_clock_to_the_end_of_a_sleep(each: Stack) -> None:
    handle = each.start(nap, 7 * 86_400.0)
    each.advance(days=6, hours=23)
    assert not handle.done()
    each.advance(hours=1, seconds=2)
    assert handle.result() == "slept for 604800.0 seconds"


def test_requests_of_workers_are_counted(each: Stack) -> None:
    each.run(journey, id="j1")
    # Only here can the two differ: a stream can deliver a resume before the suspension is complete.
    assert each.requests["promise.record"] == 10
    assert each.requests["promise.create"] == 2
    assert each.requests["task.fulfill"] == 2
    assert each.requests["task.suspend"] == 2


def test_promise_that_is_not_settled_raises_stuck(each: Stack) -> None:
    handle = each.start(approval, id="a1")
    with pytest.raises(Stuck, match=r"stack\.resolve\('a1\.1', value\)") as stuck:
        handle.result()
    assert stuck.value.waits == ("a1.1",)
    each.resolve("a1.1", "yes")
    assert handle.result() == "the answer is yes"


def test_rejected_promise_raises_in_the_execution(each: Stack) -> None:
    each.start(approval, id="a1")
    each.reject("a1.1", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        each.result("a1")


PLACES: list[dict[str, Any]] = [
    {"before": "add"},
    {"after": "add"},
    {"before": "promise.record"},
    {"after": "promise.record"},
    {"before": "task.suspend"},
    {"after": "task.suspend"},
    {"after": "task.fulfill", "id": "j1"},
    {"before": "j1.4"},
]


def test_workflow_survives_a_crash_of_its_worker(each: Stack, subtests: pytest.Subtests) -> None:
    for place in PLACES:
        with subtests.test(place=place):
            each.clear()
            point = each.crash(**place)
            assert each.run(journey, id="j1") == 90
            assert point.hits == 1


def test_failed_step_is_retried(each: Stack) -> None:
    point = each.fail("add", error=ConnectionError("no route"), times=3)
    assert each.run(journey, id="j1") == 90
    assert point.hits == 3
    assert "j1.1~1" in each.history("j1")


def test_async_workflow_survives_failures_and_crashes(each: Stack, subtests: pytest.Subtests) -> None:
    places: list[dict[str, Any]]
    places = [{"before": "inquiry"}, {"before": "look_up"}, {"after": "look_up"}, {"after": "task.suspend"}]
    for place in places:
        with subtests.test(place=place):
            each.clear()
            failure = each.fail("look_up", error=ConnectionError("no route"))
            crash = each.crash(**place)
            assert each.run(inquiry, "tea", id="i1") == ["still tea in stock", "tea in stock", "tea in stock"]
            assert (failure.hits, crash.hits) == (1, 1)
            assert replay(each.history("i1"), inquiry).finished


def test_failure_of_a_remote_function_is_caught(each: Stack) -> None:
    each.fail("refuse", error=ValueError("as told"))
    assert each.run(catching) == "caught as told"


def test_workflow_survives_duplicate_and_lost_messages(each: Stack) -> None:
    for arrange in (each.duplicate_messages, lambda: each.lose_messages(3)):
        each.clear()
        journal.clear()
        arrange()
        assert each.run(fan_out, 5, id="f1") == 20
        assert journal.runs == {f"f1.{n}": 1 for n in range(1, 6)}


def test_function_of_another_target_is_mocked(each: Stack) -> None:
    ship = Mock(return_value="on its way")
    each.mock("ship", ship, target="carrier")
    assert each.options(target="carrier").run("ship", "tea", fast=True) == "on its way"
    ship.assert_called_once_with("tea", fast=True)
    each.clear()
    each.mock("ship", Mock(side_effect=PermissionError("closed")), target="lambda://carrier")
    with pytest.raises(PermissionError, match="closed"):
        each.options(target="lambda://carrier").run("ship")


def test_history_of_an_execution_is_replayed(each: Stack) -> None:
    each.run(journey, id="j1")
    history = History.from_json(each.history("j1").to_json())

    assert replay(history, journey).finished
    with pytest.raises(Difference, match=r"j1\.1"):
        replay(history, nap)


def test_cleared_stack_is_empty(each: Stack) -> None:
    each.fail("add", times=99)
    each.duplicate_messages()
    each.lose_messages()
    each.mock("ship", Mock(), target="carrier")
    each.start(nap, 60.0, id="n1")
    each.clear()

    assert (each.requests.total(), each.invocations.total(), each.next_event_at()) == (0, 0, None)
    assert each.run(journey, 3, id="j2") == 6
    # On Lambda, the worker of the remote call goes on with its caller.
    worker, invocations = ("worker", 4) if isinstance(each, MemoryStack) else ("WorkerFunction", 3)
    assert each.invocations[worker] == invocations


def test_step_that_always_fails_raises_stuck(each: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.testing.diagnosis.HOPELESS_ATTEMPTS", 10)
    monkeypatch.setattr("resonate.testing.diagnosis.EVENTS_BETWEEN_LOOKS", 5)
    each.fail("j1.1", error=KeyError("typo"), times=1_000)
    with pytest.raises(Stuck, match=r"j1\.1: \w+ has failed 1\d times, at last with KeyError\('typo'\)"):
        each.run(journey, id="j1")
