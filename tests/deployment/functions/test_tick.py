import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.deployment.functions.conftest import NIGHT, Load
from tests.support.present import present

SLEEP = "sleep-workflow-1.1"


def state_of(stack: OfflineStack, id: str = SLEEP) -> str:
    return present(stack.store.record(id)).state


def test_tick_of_a_timer_event_settles_the_promise(asleep: OfflineStack, event: Load) -> None:
    assert asleep.invoke("TickFunction", event("tick-timer")) == {"kind": "timer", "id": SLEEP, "status": 200}
    assert state_of(asleep) == "resolved"


def test_tick_of_a_schedule_event_creates_the_occurrence(stack: OfflineStack, event: Load) -> None:
    client = stack.client().options(target="worker")
    first = client.schedule("daily_report", "sleeping_workflow", "@hourly", "w1", 5.0).next_run_time
    client.stop()
    stack.clock.sleep(first - stack.clock.now())

    assert stack.invoke("TickFunction", event("tick-schedule")) == {
        "kind": "schedule",
        "id": "daily_report",
        "status": 200,
    }
    assert state_of(stack, f"daily_report.{first}") == "pending"


def test_tick_of_a_queue_batch_settles_its_timers(asleep: OfflineStack, event: Load) -> None:
    assert asleep.invoke("TickFunction", event("tick-queue")) == {"batchItemFailures": []}
    assert state_of(asleep) == "resolved"


def test_tick_of_an_early_timer_is_queued_again(begun: OfflineStack, event: Load) -> None:
    begun.pump()
    begun.clock.sleep(4000)
    begun.reset_counts()

    assert begun.invoke("TickFunction", event("tick-timer")) == {"kind": "timer", "id": SLEEP, "rearmed": NIGHT + 5000}
    assert begun.operations("sqs") == {"SendMessage": 1}
    assert state_of(begun) == "pending"


def test_tick_of_a_sweep_settles_what_is_due(asleep: OfflineStack, event: Load) -> None:
    response = asleep.invoke("TickFunction", event("tick"))

    assert response["kind"] == "sweep"
    assert (response["failed"], response["finished"]) == (0, True)
    assert response["lag"] == 0
    assert state_of(asleep) == "resolved"


def test_tick_reports_and_logs_each_failed_message(
    asleep: OfflineStack, event: Load, caplog: pytest.LogCaptureFixture
) -> None:
    batch = event("tick-queue")
    (good,) = batch["Records"]
    batch["Records"] = [{**good, "messageId": "m1", "body": "{}"}, good]

    assert asleep.invoke("TickFunction", batch) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert state_of(asleep) == "resolved"
    assert 'MalformedTick: expected {"kind": "sweep"}' in caplog.text
