"""Long chains of invocations, which Lambda would drop without an error (`RecursiveLoop`)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.support.hypothesis_settings import examples, in_ci

LENGTH = examples(20, in_ci=40)
"""Calls, and sleeps, of a chain. Lambda drops the 17th invocation of one."""


@IN_BOTH_DELIVERIES
def test_long_chain_of_calls_and_sleeps_is_not_dropped(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "in_a_row", LENGTH, LENGTH)
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == 2 * LENGTH
    assert stack.dropped == []
    # Each sleep may be a second late, and no call waits for a sweep.
    created = stack.history("w1")[0].created_at
    assert LENGTH * 20_000 <= (promise.settled_at or 0) - created < LENGTH * 21_000 + 1_000


@pytest.fixture
def terminating(stack: OfflineStack) -> Iterator[OfflineStack]:
    """A stack whose functions have Lambda's default."""
    functions = dict(stack.deployment.functions)
    for name, function in functions.items():
        stack.deployment.functions[name] = replace(function, allows_recursion=False)
    yield stack
    stack.deployment.functions.update(functions)


@in_ci
@pytest.mark.parametrize(("calls", "naps"), [(40, 0), (0, 40)], ids=["calls", "sleeps"])
def test_function_that_does_not_allow_recursion_is_dropped(
    terminating: OfflineStack, begin: Begin, calls: int, naps: int
) -> None:
    """The offline stack counts as Lambda does. The sweep, which begins a new chain, completes the work."""
    handle = begin("w1", "in_a_row", calls, naps)
    terminating.run_until_complete("w1")

    assert handle.result(0) == 40
    assert set(terminating.dropped) <= {"WorkerFunction", "TickFunction"}
    assert len(terminating.dropped) >= 2
