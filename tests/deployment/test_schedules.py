"""Schedules on the deployed stack: fired by EventBridge, kept by the sweep, through every fault."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from resonate import Resonate
from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.machine.schedules import MAX_OCCURRENCES
from resonate_store.model.tags import SCHEDULE
from tests.support import journal
from tests.support.faults import Fault

MINUTE = 60_000


@pytest.fixture
def client(stack: OfflineStack) -> Iterator[Resonate]:
    client = stack.client(group="client").options(target="worker")
    yield client
    client.stop()


def first_minute(stack: OfflineStack) -> int:
    return stack.clock.now() - stack.clock.now() % MINUTE + MINUTE


def recurring(stack: OfflineStack) -> list[str]:
    """The recurring schedules in EventBridge, the sweep's left out."""
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    names = [each["Name"] for each in scheduler.list_schedules(GroupName=group)["Schedules"]]
    found = [scheduler.get_schedule(GroupName=group, Name=name) for name in names]
    return sorted(
        f"{each['ScheduleExpression']} {each['ScheduleExpressionTimezone']}"
        for each in found
        if each["ScheduleExpression"].startswith("cron(")
    )


def runs(stack: OfflineStack, id: str, first: int, count: int, every: int = MINUTE) -> None:
    """Every occurrence has run, once, and there is no other."""
    expected = [f"{id}.{first + n * every}" for n in range(count)]
    for each in expected:
        record = stack.store.record(each)
        assert record is not None, each
        assert (record.state, record.tags[SCHEDULE]) == ("resolved", id)
    assert {key: n for key, n in journal.runs.items() if key.startswith(f"{id}.")} == dict.fromkeys(expected, 1)


def test_each_occurrence_runs_once_and_costs_no_call_to_sqs_or_scheduler(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.pump()
    assert recurring(stack) == ["cron(* * * * ? *) UTC"]
    stack.advance(minutes=2)
    stack.reset_counts()

    stack.advance(minutes=10)

    runs(stack, "s", first, 12)
    assert (stack.operations("sqs"), stack.operations("scheduler")) == ({}, {})


def test_an_occurrence_costs_what_the_documentation_says(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.advance(minutes=2)
    stack.reset_counts()
    stack.clock.sleep(first + 2 * MINUTE - stack.clock.now())
    stack.pump()

    asked = [call.operation for call in stack.calls if call.caller == "TickFunction"]
    assert asked == ["GetItem", "GetItem", "TransactWriteItems"]
    assert stack.invocations["TickFunction"] == 1


def test_two_recurring_schedules_of_one_fire_every_occurrence_once(stack: OfflineStack, client: Resonate) -> None:
    client.options(timezone="America/New_York").schedule("s", "double", "0 9 1,15 * fri", 4)
    stack.pump()
    assert recurring(stack) == ["cron(0 9 1,15 * ? *) America/New_York", "cron(0 9 ? * 6 *) America/New_York"]
    expected = client.schedules.next_runs("s", 6)

    stack.advance(seconds=(expected[-1] - stack.clock.now()) / 1000 + 1)

    assert journal.runs == {f"s.{at}": 1 for at in expected}
    zone = ZoneInfo("America/New_York")
    assert {datetime.fromtimestamp(at / 1000, zone).strftime("%H:%M") for at in expected} == {"09:00"}


def test_a_deleted_or_paused_schedule_leaves_nothing_behind(stack: OfflineStack, client: Resonate) -> None:
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


def test_the_sweep_fires_what_nothing_else_does(stack: OfflineStack, client: Resonate) -> None:
    """The stream's record of the creation is lost; a schedule that the sweep finds late is armed."""
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


def test_what_the_clock_skips_in_spring_is_fired_by_the_sweep(stack: OfflineStack, client: Resonate) -> None:
    zone = ZoneInfo("America/New_York")
    eve = round(datetime(2026, 3, 7, 12, tzinfo=zone).timestamp() * 1000)
    stack.clock.sleep(eve - stack.clock.now())
    client.options(timezone="America/New_York").schedule("s", "double", "30 2 * * *", 4)

    stack.advance(hours=15)

    forward = round(datetime(2026, 3, 8, 3, tzinfo=zone).timestamp() * 1000)
    runs(stack, "s", forward, 1)


def test_an_outage_is_caught_up_in_order(stack: OfflineStack, client: Resonate) -> None:
    """More occurrences than one firing takes on: every firing asks for the next."""
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.pump()
    stack.clock.sleep((MAX_OCCURRENCES + 5) * MINUTE)

    stack.pump()

    runs(stack, "s", first, MAX_OCCURRENCES + 5)
    assert list(journal.runs) == sorted(journal.runs)


def test_no_worker_available_when_it_fires(stack: OfflineStack, client: Resonate) -> None:
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


def test_everything_twice(stack: OfflineStack, client: Resonate) -> None:
    stack.duplicate = True
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.advance(minutes=5)
    runs(stack, "s", first, 5)


def test_an_event_by_hand_fires_a_schedule(stack: OfflineStack, client: Resonate) -> None:
    first = first_minute(stack)
    client.schedule("s", "double", "* * * * *", 4)
    stack.clock.sleep(first - stack.clock.now())
    assert stack.invoke("TickFunction", {"kind": "schedule", "id": "s"}) == {
        "kind": "schedule",
        "id": "s",
        "status": 200,
    }
    stack.pump()
    runs(stack, "s", first, 1)


@pytest.mark.parametrize("moment", get_args(Moment))
def test_an_occurrence_survives_a_fault_of_its_worker_at_every_request(
    stack: OfflineStack, client: Resonate, moment: Any
) -> None:
    for position in itertools.count():
        stack.clear()
        journal.clear()
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


@pytest.mark.parametrize("moment", get_args(Moment))
@pytest.mark.parametrize("function", ["DispatchFunction", "TickFunction"])
def test_a_schedule_survives_a_fault_at_every_request(
    stack: OfflineStack, client: Resonate, function: str, moment: Any
) -> None:
    """Between each pair of calls to DynamoDB, SQS and Scheduler: no occurrence is lost, early or doubled."""
    hit: set[str] = set()
    for position in itertools.count():
        stack.clear()
        journal.clear()
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
    assert hit >= ({"dynamodb", "scheduler", "lambda"} if function == "DispatchFunction" else {"dynamodb"})


def test_the_event_that_fires_a_schedule_is_what_is_documented(stack: OfflineStack, client: Resonate) -> None:
    client.schedule("daily", "double", "@daily", 4)
    stack.pump()
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    names = [each["Name"] for each in scheduler.list_schedules(GroupName=group)["Schedules"]]
    (name,) = (name for name in names if name.startswith("schedule-"))
    target = scheduler.get_schedule(GroupName=group, Name=name)["Target"]
    assert json.loads(target["Input"]) == {"kind": "schedule", "id": "daily"}
