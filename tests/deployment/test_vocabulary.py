"""One test, two stacks: what users write against `Stack` means the same in memory and through the Lambda handlers."""

from collections.abc import Callable, Iterator
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


def test_a_month_passes(each: Stack) -> None:
    began = each.clock.now()
    assert each.run(nap, 30 * 86_400.0, id="n1") == "slept for 2592000.0 seconds"
    assert 0 <= each.clock.now() - began - 30 * 86_400_000 < 2_000
    assert each.history("n1").commands == ["a sleep"]
    assert each.requests["task.acquire"] == 2
    assert each.requests["task.suspend"] == 1


def test_the_clock_moves_as_far_as_told(each: Stack) -> None:
    handle = each.start(nap, 7 * 86_400.0)
    each.advance(days=6, hours=23)
    assert not handle.done()
    each.advance(hours=1, seconds=2)
    assert handle.result() == "slept for 604800.0 seconds"


def test_the_requests_of_workers_are_the_same(each: Stack) -> None:
    each.run(journey, id="j1")
    # DynamoDB's stream may deliver a resume before a suspension is through, as little else here may differ.
    assert each.requests["promise.record"] == 10
    assert each.requests["promise.create"] == 2
    assert each.requests["task.fulfill"] == 2
    assert each.requests["task.suspend"] == 2


def test_somebody_answers_or_nobody_does(each: Stack) -> None:
    handle = each.start(approval, id="a1")
    with pytest.raises(Stuck, match=r"stack\.resolve\('a1\.1', value\)") as stuck:
        handle.result()
    assert stuck.value.waits == ("a1.1",)
    each.resolve("a1.1", "yes")
    assert handle.result() == "the answer is yes"


def test_an_error_is_the_executions(each: Stack) -> None:
    each.start(approval, id="a1")
    each.reject("a1.1", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        each.result("a1")


@pytest.mark.parametrize(
    "place",
    [
        {"before": "add"},
        {"after": "add"},
        {"before": "promise.record"},
        {"after": "promise.record"},
        {"before": "task.suspend"},
        {"after": "task.suspend"},
        {"after": "task.fulfill", "id": "j1"},
        {"before": "j1.4"},
    ],
)
def test_a_worker_dies_and_the_workflow_does_not_notice(each: Stack, place: dict[str, Any]) -> None:
    point = each.crash(**place)
    assert each.run(journey, id="j1") == 90
    assert point.hits == 1


def test_a_step_fails_and_is_retried(each: Stack) -> None:
    point = each.fail("add", error=ConnectionError("no route"), times=3)
    assert each.run(journey, id="j1") == 90
    assert point.hits == 3
    assert "j1.1~1" in each.history("j1")


@pytest.mark.parametrize(
    "place", [{"before": "inquiry"}, {"before": "look_up"}, {"after": "look_up"}, {"after": "task.suspend"}]
)
def test_async_functions_are_functions(each: Stack, place: dict[str, Any]) -> None:
    failure = each.fail("look_up", error=ConnectionError("no route"))
    crash = each.crash(**place)

    assert each.run(inquiry, "tea", id="i1") == ["still tea in stock", "tea in stock", "tea in stock"]
    assert (failure.hits, crash.hits) == (1, 1)
    assert replay(each.history("i1"), inquiry).finished


def test_a_remote_function_fails(each: Stack) -> None:
    each.fail("refuse", error=ValueError("as told"))
    assert each.run(catching) == "caught as told"


@pytest.mark.parametrize(
    "arrange", [lambda stack: stack.duplicate_messages(), lambda stack: stack.lose_messages(3)], ids=["twice", "never"]
)
def test_messages_come_twice_or_never(each: Stack, arrange: Callable[[Stack], Any]) -> None:
    arrange(each)
    assert each.run(fan_out, 5, id="f1") == 20
    assert sorted(journal.runs) == [f"f1.{n}" for n in range(1, 6)]
    assert set(journal.runs.values()) == {1}


def test_a_stranger_is_mocked(each: Stack) -> None:
    ship = Mock(return_value="on its way")
    each.mock("ship", ship, target="carrier")
    assert each.options(target="carrier").run("ship", "tea", fast=True) == "on its way"
    ship.assert_called_once_with("tea", fast=True)
    each.clear()
    each.mock("ship", Mock(side_effect=PermissionError("closed")), target="lambda://carrier")
    with pytest.raises(PermissionError, match="closed"):
        each.options(target="lambda://carrier").run("ship")


def test_what_ran_is_replayed(each: Stack) -> None:
    each.run(journey, id="j1")
    history = History.from_json(each.history("j1").to_json())

    assert replay(history, journey).finished
    with pytest.raises(Difference, match=r"j1\.1"):
        replay(history, nap)


def test_a_cleared_stack_is_as_good_as_new(each: Stack) -> None:
    each.fail("add", times=99)
    each.duplicate_messages()
    each.lose_messages()
    each.mock("ship", Mock(), target="carrier")
    each.start(nap, 60.0, id="n1")
    each.clear()

    assert (each.requests.total(), each.invocations.total(), each.next_event_at()) == (0, 0, None)
    assert each.run(journey, 3, id="j2") == 6
    assert each.invocations["worker" if isinstance(each, MemoryStack) else "WorkerFunction"] == 4


def test_mocks_need_somebody_to_be(stack: OfflineStack) -> None:
    with pytest.raises(ValueError, match="name the target of ship"):
        stack.mock("ship", Mock())
    with pytest.raises(ValueError, match="neither"):
        stack.mock("ship", Mock(), target="https://example.com")


def test_a_step_that_always_fails_is_told(each: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.testing.diagnosis.HOPELESS_ATTEMPTS", 10)
    monkeypatch.setattr("resonate.testing.diagnosis.EVENTS_BETWEEN_LOOKS", 5)
    each.fail("j1.1", error=KeyError("typo"), times=1_000)
    with pytest.raises(Stuck, match=r"j1\.1: \w+ has failed 1\d times, at last with KeyError\('typo'\)"):
        each.run(journey, id="j1")
