"""Failures and crashes that a test injects."""

from typing import Any

import pytest

from resonate import Context
from resonate.testing import MemoryStack
from resonate_store.interface import StoreError
from tests.unit.sdk.testing import programs
from tests.unit.sdk.testing.programs import book, charge, stubborn, trial


def test_injected_failure_of_a_step_is_retried(stack: MemoryStack) -> None:
    point = stack.fail(charge, error=ConnectionError("no route"), times=2)
    assert stack.run(stubborn, id="s1") == "charged 1 EUR"
    assert (point.hits, point.left) == (2, 0)
    assert [record.id for record in stack.history("s1")] == ["s1", "s1.1", "s1.1~1", "s1.1~2"]


def test_injected_failures_beyond_the_policy_fail_the_workflow(stack: MemoryStack) -> None:
    stack.fail("s1.1", error=ConnectionError, times=6)
    with pytest.raises(ConnectionError):
        stack.run(stubborn, id="s1")
    stack.clear()
    stack.fail("charge", times=6)
    with pytest.raises(RuntimeError, match="charge fails in this test"):
        stack.run(stubborn, id="s2")


def test_execution_survives_a_crash_anywhere(
    stack: MemoryStack, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    charges: list[int] = []

    def counted(_: Context, amount: int) -> str:
        charges.append(amount)
        return f"charged {amount}"

    counted.__name__ = "charge"
    monkeypatch.setattr(programs, "charge", counted)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"before": "charge"}, 1),
        ({"after": charge}, 2),
        ({"before": "promise.record", "id": "t1.3"}, 2),
        ({"after": "promise.record", "id": "t1.3"}, 1),
        ({"before": "task.fulfill"}, 1),
        ({"after": "task.suspend"}, 1),
        ({"before": "task.suspend"}, 1),
        ({"after": "task.acquire"}, 1),
        ({"after": "children"}, 1),
        ({"before": "t1.1"}, 1),
    ]
    for place, runs in cases:
        with subtests.test(place=place):
            stack.clear()
            charges.clear()
            point = stack.crash(**place)
            assert stack.run(trial, "ada", id="t1") == "charged 9"
            assert (point.hits, len(charges)) == (1, runs)


def test_async_execution_survives_a_crash_anywhere(stack: MemoryStack, subtests: pytest.Subtests) -> None:
    places: list[dict[str, Any]] = [
        {"before": "book"},
        {"before": "chapter"},
        {"before": "fetch"},
        {"after": "fetch"},
        {"after": "promise.create", "id": "b1.2"},
        {"after": "task.suspend"},
    ]
    for place in places:
        with subtests.test(place=place):
            stack.clear()
            point = stack.crash(**place)
            assert stack.run(book, id="b1") == ["page 0", "page 1, page 2", "page 3, page 4"]
            assert point.hits == 1


def test_async_functions_fail_and_crash_where_they_run(stack: MemoryStack) -> None:
    point = stack.fail("fetch", error=ConnectionError, times=2)
    assert stack.run(book)[0] == "page 0"
    assert point.hits == 2

    # An async workflow has not run when its first command is issued, so it does not crash after that.
    point = stack.crash(after="chapter")
    stack.run(book)
    assert point.hits == 0


def test_injected_failure_of_the_store_is_retried(stack: MemoryStack) -> None:
    point = stack.fail("promise.record", error=StoreError("throttled"), times=3)
    assert stack.run(trial, "ada") == "charged 9 EUR"
    assert point.hits == 3


def test_crash_needs_one_place_and_failure_a_count(stack: MemoryStack) -> None:
    wrong: list[dict[str, Any]] = [{}, {"before": "a", "after": "b"}]
    for places in wrong:
        with pytest.raises(TypeError, match="needs one place"):
            stack.crash(**places)
    with pytest.raises(ValueError, match="at least once"):
        stack.fail("charge", times=0)
