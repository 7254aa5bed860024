"""Messages get lost, repeated and delayed; the workflow comes out the same."""

import itertools
from contextlib import suppress
from typing import Any

import pytest

from resonate_infra.testing.moto.cloud import Call, Moment
from resonate_infra.testing.process import Killed
from resonate_infra.testing.stack import Event, OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal

RESULT = 90


def items(stack: OfflineStack) -> list[dict[str, Any]]:
    found = stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]
    return sorted(found, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def shape(stack: OfflineStack) -> list[tuple[str, str, Any]]:
    return [(record.id, record.state, record.value) for record in stack.history("w1")]


@pytest.fixture
def undisturbed(stack: OfflineStack, begin: Begin) -> list[tuple[str, str, Any]]:
    """The records of a journey on which nothing happened."""
    begin("w1", "journey")
    stack.run_until_complete("w1")
    expected = shape(stack)
    stack.clear()
    stack.processes.forget_all()
    journal.clear()
    return expected


def check(stack: OfflineStack, begin: Begin, undisturbed: list[tuple[str, str, Any]]) -> None:
    assert begin("w1", "journey").result(0) == RESULT
    assert shape(stack) == undisturbed
    assert set(journal.runs.values()) == {1}


def test_a_journey_leaves_a_record_of_each_step(undisturbed: list[Any]) -> None:
    assert len(undisturbed) == 13


def test_everything_is_delivered_twice(stack: OfflineStack, begin: Begin, undisturbed: list[Any]) -> None:
    stack.duplicate = True
    begin("w1", "journey")
    stack.run_until_complete("w1")
    stack.advance(minutes=5)

    check(stack, begin, undisturbed)


@pytest.mark.parametrize("backwards", [False, True])
def test_everything_is_delivered_again_when_all_is_over(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any], backwards: bool
) -> None:
    events: list[Event] = []
    stack.watch = events.append
    begin("w1", "journey")
    stack.run_until_complete("w1")
    stack.advance(minutes=5)
    stack.watch = None
    before = items(stack)
    assert {event.function for event in events} == {"WorkerFunction", "DispatchFunction", "TickFunction"}

    for event in reversed(events) if backwards else events:
        stack.invoke(event.function, event.event)
        stack.pump()
    stack.advance(minutes=20)

    assert items(stack) == before
    check(stack, begin, undisturbed)


def test_everything_is_delivered_again_after_each_delivery(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    past: dict[str, Event] = {}

    def again(event: Event) -> None:
        if content_of(event) in past:
            return
        for earlier in list(past.values()):
            with suppress(Exception):
                stack.invoke(earlier.function, earlier.event)
        past[content_of(event)] = event

    stack.watch = again
    begin("w1", "journey")
    stack.run_until_complete("w1")

    check(stack, begin, undisturbed)
    assert len(past) >= 10


def content_of(event: Event) -> str:
    """What an event says, without what is new in every delivery of it."""
    if not isinstance(event.event, dict) or "Records" not in event.event:
        return f"{event.function} {event.event}"
    records = event.event["Records"]
    return f"{event.function} {[record.get('body') or record['dynamodb']['SequenceNumber'] for record in records]}"


def test_without_the_stream_the_sweep_alone_completes_it(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    stack.lost = lambda _: True
    began = stack.clock.now()
    begin("w1", "journey")
    promise = stack.run_until_complete("w1")

    check(stack, begin, undisturbed)
    assert stack.invocations["DispatchFunction"] == 0
    assert promise.settled_at is not None
    # The offer, the sleep, its delivery, the rpc's offer and its delivery: each waits for a sweep, or for two.
    assert promise.settled_at - began <= 10 * 60_000


def test_without_the_stream_and_with_sweeps_that_die_it_completes(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    """Every sweep dies one request later than the one before, over and over."""
    stack.lost = lambda _: True
    requests = 0
    limits = itertools.cycle(range(9, 25))
    limit = next(limits)

    def die(moment: Moment, call: Call) -> None:
        nonlocal requests, limit
        if call.caller != "TickFunction" or moment != "after":
            return
        requests += 1
        if requests == limit:
            requests, limit = 0, next(limits)
            raise Killed

    stack.cloud.fault = die
    begin("w1", "journey")
    stack.run_until_complete("w1")
    stack.cloud.fault = None

    check(stack, begin, undisturbed)


def test_each_stream_record_may_get_lost(stack: OfflineStack, begin: Begin, undisturbed: list[Any]) -> None:
    for position in itertools.count():
        stack.clear()
        stack.processes.forget_all()
        journal.clear()
        numbers = itertools.count()
        stack.lost = lambda _, numbers=numbers, position=position: next(numbers) == position
        begin("w1", "journey")
        stack.run_until_complete("w1")
        stack.advance(minutes=3)

        check(stack, begin, undisturbed)
        assert stack.next_event_at() in (None, *far_away(stack)), "somebody still waits to be told"
        if next(numbers) <= position:
            break
    assert position >= 8


def far_away(stack: OfflineStack) -> list[int]:
    """Instants at which nothing is due any more: what is left on the queues finds nothing."""
    return [at for queue in stack.deployment.queues.values() if (at := stack.cloud.next_message_at(queue.arn))]


def test_each_invoke_of_a_worker_may_get_lost(stack: OfflineStack, begin: Begin, undisturbed: list[Any]) -> None:
    """Lambda accepts the event and never runs the function."""
    for position in range(5):
        stack.clear()
        stack.processes.forget_all()
        journal.clear()
        begin("w1", "journey")
        invokes = itertools.count()
        stack.cloud.fault = lambda moment, call, invokes=invokes, position=position: (
            stack.cloud.invocations.pop()
            if (moment, call.operation) == ("lost", "Invoke") and next(invokes) == position
            else None
        )
        stack.run_until_complete("w1")

        check(stack, begin, undisturbed)


def test_an_offer_that_nobody_hears_is_repeated_at_growing_intervals(stack: OfflineStack, begin: Begin) -> None:
    offers: list[int] = []
    began = stack.clock.now()
    begin("w1", "journey")
    stack.cloud.fault = lambda moment, call: (
        (offers.append(stack.clock.now() - began), stack.cloud.invocations.pop())
        if (moment, call.operation) == ("lost", "Invoke")
        else None
    )
    stack.advance(hours=2)

    pauses = [later - earlier for earlier, later in itertools.pairwise(offers)]
    # 30 s, doubled each time up to 5 minutes, and up to a minute until the sweep looks.
    for pause, least in zip(pauses, [30, 60, 120, 240, *[300] * 12], strict=False):
        assert least * 1000 <= pause <= least * 1000 + 60_000
    assert len(pauses) >= 10
