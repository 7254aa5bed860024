"""The stack in memory: its clock, its messages and its limits."""

import threading
from collections import Counter
from unittest.mock import Mock

import pytest

from resonate import Context
from resonate.errors import PayloadTooLargeError
from resonate.testing import MemoryStack, Stuck
from resonate_store.model.clock import ManualClock, ambient
from tests.support.steps import caught
from tests.unit.sdk.testing.programs import Flow, branching, notify, order, stubborn, trial

DAY = 86_400_000


def test_workflow_runs_to_its_end_through_sleeps(stack: MemoryStack) -> None:
    began = stack.clock.now()

    assert stack.run(trial, "ada") == "charged 9 EUR"
    assert stack.clock.now() == began + 30 * DAY
    assert stack.invocations == Counter(shop=2), "it left the worker and was replayed from its beginning"
    assert stack.requests["promise.record"] == 2
    assert stack.requests.total() == 8


def test_memory_stack_repeats_a_run_exactly() -> None:
    histories = []
    for _ in range(2):
        stack = MemoryStack()
        stack.run(branching)
        histories.append((stack.history("branching-1"), stack.requests, stack.invocations, stack.clock.now()))
    assert histories[0] == histories[1]


def test_memory_stack_starts_no_thread_and_restores_the_clock(stack: MemoryStack) -> None:
    before, clock = threading.active_count(), ambient()
    seen: list[int] = []

    def look(_: Context) -> None:
        seen.append(ambient().now())

    stack.advance(days=1)
    stack.run(look)
    stack.run(branching)
    assert seen[0] == ManualClock().now() + DAY, "functions see the stack's time"
    assert (threading.active_count(), ambient()) == (before, clock)


def test_worker_is_invoked_again_after_a_long_function() -> None:
    def slow(_: Context) -> None:
        ambient().sleep(200_000)

    def laborious(ctx: Context) -> Flow:
        for _ in range(3):
            yield ctx.run(slow)
        return "done"

    stack = MemoryStack(worker_timeout=300)
    assert stack.run(laborious) == "done"
    assert stack.invocations == Counter(default=2)


def test_payload_too_large_for_a_deployment_is_refused(stack: MemoryStack) -> None:
    large = "x" * 6_000_000

    def bulky(_: Context, text: str) -> str:
        return text * 6_000_000

    def above(ctx: Context) -> Flow:
        refused: list[str] = []
        for command in (ctx.run(bulky, "x"), ctx.rpc("charge", large).options(target="shop"), ctx.detached("f", large)):
            refused.append(str((yield from caught(command, PayloadTooLargeError))))
        return refused

    result, *arguments = stack.run(above, id="w1")
    assert "the value of promise 'w1.1' has 8000004 bytes, encoded, and 5242880 is the limit" in result
    for id, argument in zip(("w1.2", "w1.3"), arguments, strict=True):
        assert f"the param of promise '{id}'" in argument
    with pytest.raises(PayloadTooLargeError, match="the param of promise 'w2'"):
        stack.start(trial, large, id="w2")


def test_groups_are_served_by_their_programs_and_mocks(stack: MemoryStack) -> None:
    ship = Mock(return_value="on its way")
    stack.mock("ship", ship, target="carrier")

    assert stack.run(order, "tea") == "tea from B4, on its way"
    ship.assert_called_once_with("tea from B4", fast=True)
    assert stack.invocations == Counter(shop=3, warehouse=1, carrier=1)


def test_client_of_the_stack_uses_its_store(stack: MemoryStack) -> None:
    client = stack.client(group="gateway")
    handle = client.options(target="shop").begin_rpc("a1", "approval")
    client.promises.resolve("a1.1", data='"yes"')
    assert handle.result(0) == "yes"
    client.stop()


def test_duplicate_messages_have_no_effect(stack: MemoryStack) -> None:
    stack.run(branching, id="b1")
    undisturbed = [(record.id, record.state, record.value) for record in stack.history("b1")]
    stack.clear()
    stack.duplicate_messages()

    stack.run(branching, id="b1")
    assert [(record.id, record.state, record.value) for record in stack.history("b1")] == undisturbed
    assert stack.invocations["shop"] % 2 == 0
    stack.duplicate_messages(False)
    stack.reset_counts()
    stack.run(stubborn)
    assert stack.invocations == Counter(shop=1)


def test_lost_messages_are_sent_again(stack: MemoryStack) -> None:
    stack.lose_messages(2)
    began = stack.clock.now()
    assert stack.run(notify, "hello") == "told: hello"
    assert stack.clock.now() == began + 90_000, "after 30 seconds, and after 60 more"
    stack.lose_messages()
    stack.start(notify, "hello", id="n2")
    with pytest.raises(Stuck):
        stack.run_until_complete("n2", days=1)
    stack.lose_messages(0)
    assert stack.run_until_complete("n2").state == "resolved"
    with pytest.raises(ValueError, match="not negative"):
        stack.lose_messages(-1)


def test_clear_keeps_the_programs_only(stack: MemoryStack) -> None:
    stack.mock("ship", lambda *_, **__: "shipped")
    stack.start(trial, "ada")
    stack.fail("charge", times=99)
    stack.duplicate_messages()
    stack.clear()

    assert (stack.requests, stack.invocations, stack.next_event_at()) == (Counter(), Counter(), None)
    assert stack.run(stubborn) == "charged 1 EUR"
    assert stack.invocations == Counter(shop=1)
    with pytest.raises(Stuck, match="nobody serves"):
        stack.run(order, "tea")
