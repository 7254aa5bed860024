"""Schedules on a deployment: EventBridge fires them, and the sweep repairs them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from resonate import Resonate
from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.machine.schedules import MAX_OCCURRENCES
from resonate_store.model.tags import SCHEDULE
from tests.deployment.conftest import IN_BOTH_DELIVERIES
from tests.support import journal
from tests.support.faults import Fault, in_turn
from tests.support.present import present

MINUTE = 60_000


@pytest.fixture
def client(stack: OfflineStack) -> Iterator[Resonate]:
    client = stack.client(group="client").options(target="worker")
    yield client
    client.stop()


def first_minute(stack: OfflineStack) -> int:
    return stack.clock.now() - stack.clock.now() % MINUTE + MINUTE


def recurring(stack: OfflineStack) -> list[str]:
    """Return the recurring schedules in EventBridge without that of the sweep."""
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    names = [each["Name"] for each in scheduler.list_schedules(GroupName=group)["Schedules"]]
    found = [scheduler.get_schedule(GroupName=group, Name=name) for name in names]
    return sorted(
        f"{each['ScheduleExpression']} {each['ScheduleExpressionTimezone']}"
        for each in found
        if each["ScheduleExpression"].startswith("cron(")
    )


def runs(stack: OfflineStack, id: str, first: int, count: int, every: int = MINUTE) -> None:
    """Assert that exactly these occurrences have run, once each."""
    expected = [f"{id}.{first + n * every}" for n in range(count)]
    for each in expected:
        record = present(stack.store.record(each))
        assert (record.state, record.tags[SCHEDULE]) == ("resolved", id)
    assert {key: n for key, n in journal.runs.items() if key.startswith(f"{id}.")} == dict.fromkeys(expected, 1)


def test_occurrences_run_once_and_call_neither_sqs_nor_scheduler(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.pump()
    assert recurring(stack) == ["cron(* * * * ? *) UTC"]
    stack.advance(minutes=2)
    stack.reset_counts()

    stack.advance(minutes=10)

    runs(stack, "s", first, 12)
    assert (stack.operations("sqs"), stack.operations("scheduler")) == ({}, {})


def test_occurrence_costs_the_documented_requests(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.advance(minutes=2)
    stack.reset_counts()
    stack.clock.sleep(first + 2 * MINUTE - stack.clock.now())
    stack.pump()

    asked = [call.operation for call in stack.calls if call.caller == "TickFunction"]
    assert asked == ["GetItem", "GetItem", "TransactWriteItems", "Invoke"]
    assert stack.invocations["TickFunction"] == 1


def test_schedule_with_two_recurrences_fires_each_occurrence_once(stack: OfflineStack, client: Resonate) -> None:
    client.options(timezone="America/New_York").schedule("s", "double", "0 9 1,15 * fri", 4)
    stack.pump()
    assert recurring(stack) == ["cron(0 9 1,15 * ? *) America/New_York", "cron(0 9 ? * 6 *) America/New_York"]
    expected = client.schedules.next_runs("s", 6)

    stack.advance(seconds=(expected[-1] - stack.clock.now()) / 1000 + 1)

    assert journal.runs == {f"s.{at}": 1 for at in expected}
    zone = ZoneInfo("America/New_York")
    assert {datetime.fromtimestamp(at / 1000, zone).strftime("%H:%M") for at in expected} == {"09:00"}


def test_deleted_or_paused_schedule_is_removed_from_eventbridge(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    for id in ("s", "t"):
        client.schedule(id, "double", "* * 13 * fri" if id == "t" else "* * * * *", 4)
    stack.advance(minutes=2)
    client.schedules.pause("s")
    client.schedules.delete("t")
    stack.pump()
    assert recurring(stack) == []
    stack.advance(minutes=10)
    runs(stack, "s", first, 2)

    client.schedules.resume("s")
    stack.advance(minutes=1)
    assert recurring(stack) == ["cron(* * * * ? *) UTC"]
    assert journal.runs[f"s.{first + 12 * MINUTE}"] == 1


def test_changed_schedule_recurs_as_changed(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * 13 * fri", 4)
    stack.pump()
    assert len(recurring(stack)) == 2
    client.update_schedule("s", "double", "* * * * *", 5)
    stack.pump()
    assert recurring(stack) == ["cron(* * * * ? *) UTC"]

    stack.advance(minutes=3)
    runs(stack, "s", first, 3)
    assert client.get(f"s.{first}").result(0) == 10


def test_backfilled_occurrences_run_once(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    begin = first - 200 * MINUTE
    for created in (200, 0):
        assert client.schedules.backfill("s", begin, first).created == created
        stack.pump()
    runs(stack, "s", begin, 200)


def test_schedule_that_was_not_armed_is_fired_by_the_sweep(stack: OfflineStack, client: Resonate) -> None:
    # The stream record of the creation is lost. The sweep finds the schedule late, and arms it.
    first = first_minute(stack)
    stack.lost = lambda record: record["dynamodb"]["Keys"]["sk"]["S"] == "schedule"
    client.schedule("s", "double", "*/5 * * * *", 4)
    stack.pump()
    assert recurring(stack) == []
    first += -first % (5 * MINUTE)

    stack.clock.sleep(first + 3 * MINUTE - stack.clock.now())
    stack.sweep()
    stack.advance(minutes=9)

    runs(stack, "s", first, 3, 5 * MINUTE)
    assert recurring(stack) == ["cron(0/5 * * * ? *) UTC"]


def test_occurrence_that_the_clock_skips_is_fired_by_the_sweep(stack: OfflineStack, client: Resonate) -> None:
    zone = ZoneInfo("America/New_York")
    eve = round(datetime(2026, 3, 7, 12, tzinfo=zone).timestamp() * 1000)
    stack.clock.sleep(eve - stack.clock.now())
    client.options(timezone="America/New_York").schedule("s", "double", "30 2 * * *", 4)

    stack.advance(hours=15)

    forward = round(datetime(2026, 3, 8, 3, tzinfo=zone).timestamp() * 1000)
    runs(stack, "s", forward, 1)


def test_occurrences_of_an_outage_run_in_order(stack: OfflineStack, client: Resonate) -> None:
    # One firing creates a limited number of occurrences, and asks for the next firing.
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.pump()
    stack.clock.sleep((MAX_OCCURRENCES + 5) * MINUTE)

    stack.pump()

    runs(stack, "s", first, MAX_OCCURRENCES + 5)
    assert list(journal.runs) == sorted(journal.runs)


def test_occurrence_waits_for_a_worker(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.options(overlap="skip").schedule("s", "double", "* * * * *", 4)
    functions = stack.cloud.functions
    stack.cloud.functions = {name: id for name, id in functions.items() if id != "WorkerFunction"}
    stack.advance(minutes=10)
    assert journal.runs == {}
    stack.cloud.functions = functions
    client.schedules.pause("s")

    stack.advance(minutes=16)

    runs(stack, "s", first, 1)
    assert client.schedules.get("s").skip_reason == f"the previous occurrence, 's.{first}', has not ended"


def test_schedule_survives_duplicate_events(stack: OfflineStack, client: Resonate) -> None:
    stack.duplicate = True
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.advance(minutes=5)
    runs(stack, "s", first, 5)


def test_event_of_a_schedule_fires_it(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.pump()
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    names = [each["Name"] for each in scheduler.list_schedules(GroupName=group)["Schedules"]]
    (name,) = (name for name in names if name.startswith("schedule-"))
    event = json.loads(scheduler.get_schedule(GroupName=group, Name=name)["Target"]["Input"])
    assert event == {"kind": "schedule", "id": "s"}
    stack.clock.sleep(first - stack.clock.now())

    assert stack.invoke("TickFunction", event) == {**event, "status": 200}
    stack.pump()
    runs(stack, "s", first, 1)


@in_turn(*get_args(Moment))
def test_occurrence_survives_a_fault_at_each_request_of_its_worker(
    stack: OfflineStack, client: Resonate, moments: tuple[Moment, ...]
) -> None:
    for position in itertools.count():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"worker-{moment}-{position}"
        first = first_minute(stack)
        fault = stack.cloud.fault = Fault(stack, "WorkerFunction", moment, position)
        client.schedule(id, "steps_only", "* * * * *", 3)
        stack.clock.sleep(first - stack.clock.now())
        stack.pump()
        client.schedules.pause(id)

        assert stack.run_until_complete(f"{id}.{first}").state == "resolved", fault.hit
        assert len(journal.runs) == 3, fault.hit
        assert sum(journal.runs.values()) in ((3, 4) if moment == "before" else (3,)), fault.hit
        if fault.hit is None:
            break
    assert position >= 6


@in_turn(*get_args(Moment))
@IN_BOTH_DELIVERIES
@pytest.mark.parametrize("function", ["DispatchFunction", "TickFunction"])
def test_schedule_survives_a_fault_at_each_request(
    stack: OfflineStack, client: Resonate, delivery: str, function: str, moments: tuple[Moment, ...]
) -> None:
    hit: set[str] = set()
    for position in itertools.count():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"{function}-{moment}-{position}"
        first = first_minute(stack)
        fault = stack.cloud.fault = Fault(stack, function, moment, position)
        client.schedule(id, "double", "* * 1-15 * mon,wed", 4)
        starts = client.schedules.next_runs(id, 2)

        stack.advance(seconds=(starts[-1] - stack.clock.now()) / 1000 + 60)

        client.schedules.delete(id)
        stack.advance(minutes=1)
        assert set(starts) <= {int(each.rpartition(".")[2]) for each in journal.runs}, fault.hit
        assert set(journal.runs.values()) == {1}, fault.hit
        assert recurring(stack) == [], fault.hit
        assert first <= starts[0]
        if fault.hit is None:
            break
        hit.add(fault.hit.service)
    # EventBridge is always the dispatcher's.
    expected = {"scheduler"} if function == "DispatchFunction" else {"dynamodb"}
    if (function, delivery) in {("DispatchFunction", "stream"), ("TickFunction", "writer")}:
        expected |= {"dynamodb", "lambda"} if delivery == "stream" else {"lambda"}
    assert hit >= expected
