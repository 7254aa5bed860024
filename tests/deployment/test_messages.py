"""Lost, repeated and delayed messages, which do not change the records of a workflow."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import Event, OfflineStack
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.support import journal

pytestmark = [pytest.mark.usefixtures("cold"), IN_BOTH_DELIVERIES]
RESULT = 90


def items(stack: OfflineStack) -> list[dict[str, Any]]:
    found = stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]
    return sorted(found, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def shape(stack: OfflineStack) -> list[tuple[str, str, Any]]:
    return [(record.id, record.state, record.value) for record in stack.history("w1")]


@pytest.fixture(scope="module")
def undisturbed(deployed: OfflineStack) -> list[tuple[str, str, Any]]:
    """Return the records of a journey without faults."""
    deployed.start("journey", id="w1")
    deployed.run_until_complete("w1")
    expected = shape(deployed)
    assert len(expected) == 13
    return expected


def check(stack: OfflineStack, begin: Begin, undisturbed: list[tuple[str, str, Any]]) -> None:
    assert begin("w1", "journey").result(0) == RESULT
    assert shape(stack) == undisturbed
    assert set(journal.runs.values()) == {1}


def test_workflow_survives_duplicate_events(stack: OfflineStack, begin: Begin, undisturbed: list[Any]) -> None:
    stack.duplicate = True
    begin("w1", "journey")
    stack.run_until_complete("w1")
    stack.advance(minutes=5)

    check(stack, begin, undisturbed)


@pytest.mark.parametrize("backwards", [False, True])
def test_workflow_is_not_changed_by_events_repeated_later(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any], delivery: str, backwards: bool
) -> None:
    events: list[Event] = []
    stack.watch = events.append
    begin("w1", "journey")
    stack.run_until_complete("w1")
    stack.advance(minutes=5)
    stack.watch = None
    before = items(stack)
    functions = {"WorkerFunction", "TickFunction"}
    assert {event.function for event in events} == functions | ({"DispatchFunction"} if delivery == "stream" else set())

    for event in reversed(events) if backwards else events:
        stack.invoke(event.function, event.event)
        stack.pump()
    stack.advance(minutes=20)

    assert items(stack) == before
    check(stack, begin, undisturbed)


def test_workflow_survives_repetition_of_all_events_after_each_event(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any], delivery: str
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
    assert len(past) >= (10 if delivery == "stream" else 4)


def content_of(event: Event) -> str:
    """Return the content of an event, without what differs between its deliveries."""
    if not isinstance(event.event, dict) or "Records" not in event.event:
        return f"{event.function} {event.event}"
    records = event.event["Records"]
    return f"{event.function} {[record.get('body') or record['dynamodb']['SequenceNumber'] for record in records]}"


def test_workflow_without_stream_is_completed_by_the_sweep(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    stack.lost = lambda _: True
    began = stack.clock.now()
    begin("w1", "journey")
    promise = stack.run_until_complete("w1")

    check(stack, begin, undisturbed)
    assert stack.invocations["DispatchFunction"] == 0
    assert promise.settled_at is not None
    # The offer, the sleep, its delivery, the offer of the rpc and its delivery wait for one or two sweeps each.
    assert promise.settled_at - began <= 10 * 60_000


def test_workflow_without_stream_survives_crashing_sweeps(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    # Each sweep dies one request later than the sweep before.
    stack.lost = lambda _: True
    requests = 0
    limits = itertools.cycle(range(9, 25))
    limit = next(limits)

    def die(moment: Moment, call: CountedCall) -> None:
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


def test_workflow_survives_the_loss_of_each_stream_record(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any], delivery: str
) -> None:
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
        assert stack.next_event_at() in (None, *far_away(stack)), "an effect is missing"
        if next(numbers) <= position:
            break
    assert position >= (8 if delivery == "stream" else 0)


def far_away(stack: OfflineStack) -> list[int]:
    """Return the instants of the messages that are left on the queues. They find nothing due."""
    return [at for queue in stack.deployment.queues.values() if (at := stack.cloud.next_message_at(queue.arn))]


def test_workflow_survives_the_loss_of_each_invocation(
    stack: OfflineStack, begin: Begin, undisturbed: list[Any]
) -> None:
    # Lambda accepts the event, but does not run the function.
    for position in range(5):
        stack.clear()
        stack.processes.forget_all()
        journal.clear()
        begin("w1", "journey")
        invokes = itertools.count()

        def lose(moment: Moment, call: CountedCall, invokes: Iterator[int] = invokes, position: int = position) -> None:
            if (moment, call.operation) == ("lost", "Invoke") and next(invokes) == position:
                stack.cloud.invocations.pop()

        stack.cloud.fault = lose
        stack.run_until_complete("w1")

        check(stack, begin, undisturbed)


def test_lost_offer_is_repeated_at_growing_intervals(stack: OfflineStack, begin: Begin) -> None:
    offers: list[int] = []
    began = stack.clock.now()
    begin("w1", "journey")

    def lose(moment: Moment, call: CountedCall) -> None:
        if (moment, call.operation) == ("lost", "Invoke"):
            offers.append(stack.clock.now() - began)
            stack.cloud.invocations.pop()

    stack.cloud.fault = lose
    stack.advance(hours=2)

    pauses = [later - earlier for earlier, later in itertools.pairwise(offers)]
    # 30 s, doubled each time up to 5 minutes, plus up to a minute until the next sweep.
    for pause, least in zip(pauses, [30, 60, 120, 240, *[300] * 12], strict=False):
        assert least * 1000 <= pause <= least * 1000 + 60_000
    assert len(pauses) >= 10
