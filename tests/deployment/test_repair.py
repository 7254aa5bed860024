"""Repair of effects that failed after a write: by the stream, record by record, and by the sweep."""

import itertools
import logging
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.pumps import MAX_STREAM_RETRIES
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskAcquire,
    TaskSuspend,
)
from resonate_store.model.tags import TARGET, TIMER
from tests.deployment.conftest import Begin
from tests.support.present import present

HOUR = 3_600_000


@pytest.fixture(scope="module")
def delivery() -> str:
    return "stream"


def failing(service: str, operation: str, *, skip: int = 0, times: int = 1) -> Any:
    """Return a fault that refuses `times` calls of an operation by a function, after the first `skip` calls."""
    positions = itertools.count()

    def fault(moment: Moment, call: CountedCall) -> None:
        refused = (moment, call.service, call.operation) == ("before", service, operation) and call.caller
        if refused and skip <= next(positions) < skip + times:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not now"}}, operation)

    return fault


def wait(stack: OfflineStack, awaited: str, awaiter: str) -> None:
    """Create a task that is suspended on a promise."""
    deadline = stack.clock.now() + 10 * HOUR
    stack.store.apply(PromiseCreate(awaited, deadline))
    stack.store.apply(PromiseCreate(awaiter, deadline, tags={TARGET: "https://worker.invalid/"}))
    task = present(stack.store.apply(TaskAcquire(awaiter, 0, "p", 60_000)).task)
    assert stack.store.apply(TaskSuspend(awaiter, task.version, (awaited,))).ok


# The stream


def test_failed_effect_reports_its_record_and_is_repeated(stack: OfflineStack) -> None:
    # Three timers are created at once. Arming the second one fails at first.
    responses: list[Any] = []
    stack.watch = lambda event: responses.append((event.function, event.event, event.response))
    at = stack.clock.now() + 60_000
    for n in range(3):
        stack.store.apply(PromiseCreate(f"t{n}", at, tags={TIMER: "true"}))
    stack.cloud.fault = failing("sqs", "SendMessage", skip=1)
    stack.pump()

    (_, batch, first), (_, again, second) = responses
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch["Records"]]
    assert first == {"batchItemFailures": [{"itemIdentifier": numbers[1]}]}
    assert [record["dynamodb"]["SequenceNumber"] for record in again["Records"]] == numbers[1:]
    assert second == {"batchItemFailures": []}

    stack.advance(seconds=60)
    assert [present(stack.store.record(f"t{n}")).state for n in range(3)] == ["resolved"] * 3


def test_repeated_settlement_resumes_a_task_once(stack: OfflineStack) -> None:
    # The awaiter is resumed, clearing the settlement fails, and the record is delivered again.
    wait(stack, "awaited", "awaiter")
    stack.pump()
    stack.store.apply(PromiseSettle("awaited", "resolved"))
    stack.reset_counts()
    stack.cloud.fault = failing("dynamodb", "PutItem", skip=1)
    stack.pump()

    awaiter, awaited = present(stack.store.record("awaiter")), present(stack.store.record("awaited"))
    task = present(awaiter.task)
    assert (task.state, task.version, task.resumes) == ("pending", 1, ("awaited",))
    assert awaiter.rev == 4, "created, acquired, suspended, resumed, and no further write"
    assert awaited.delivered
    assert stack.invocations["DispatchFunction"] >= 2


def test_effect_that_keeps_failing_is_left_to_the_sweep(stack: OfflineStack, begin: Begin) -> None:
    stack.cloud.fault = failing("sqs", "SendMessage", times=MAX_STREAM_RETRIES + 1)
    deliveries: Counter[str] = Counter()

    def watch(event: Event) -> None:
        if event.function == "DispatchFunction":
            created = [record for record in event.event["Records"] if record["eventName"] == "INSERT"]
            deliveries.update(record["dynamodb"]["Keys"]["sk"]["S"] for record in created)

    stack.watch = watch
    handle = begin("w1", "nap", 30.0)
    promise = stack.run_until_complete("w1")

    assert deliveries["1#w1.1"] == MAX_STREAM_RETRIES + 1
    assert handle.result(0) == "slept for 30.0 seconds"
    record = present(stack.store.record("w1"))
    assert 30_000 <= (promise.settled_at or 0) - record.created_at <= 120_000


def test_foreign_record_does_not_delay_other_records(stack: OfflineStack, begin: Begin) -> None:
    stack.cloud.client("dynamodb").put_item(
        TableName=stack.deployment.table_name,
        Item={"pk": {"S": "p#x"}, "sk": {"S": "0#x"}, "effects": {"N": "1"}, "id": {"S": "x"}},
    )
    handle = begin("w1", "nap", 30.0)
    stack.run_until_complete("w1")

    assert handle.result(0) == "slept for 30.0 seconds"


# The sweep


def late_timers(stack: OfflineStack, count: int) -> None:
    stack.lost = lambda _: True
    for n in range(count):
        stack.store.apply(PromiseCreate(f"t{n}", stack.clock.now() + 1000, tags={TIMER: "true"}))
    stack.clock.sleep(2000)


def test_sweep_continues_after_a_damaged_record(stack: OfflineStack, caplog: pytest.LogCaptureFixture) -> None:
    late_timers(stack, 20)
    stack.cloud.client("dynamodb").update_item(
        TableName=stack.deployment.table_name,
        Key={"pk": {"S": "p#t7"}, "sk": {"S": "0#t7"}},
        UpdateExpression="SET timeout_at = :bad",
        ExpressionAttributeValues={":bad": {"S": "soon"}},
    )
    with caplog.at_level(logging.ERROR, "resonate.tick"):
        response = stack.sweep()

    assert (response["woken"], response["failed"]) == (19, 1)
    assert "waking promise t7 failed" in caplog.text


def test_sweep_ends_in_time_and_the_next_continues(stack: OfflineStack) -> None:
    # A wake-up takes two seconds here (two writes), and the tick function has 60 s.
    late_timers(stack, 40)

    def slow(moment: Moment, call: CountedCall) -> None:
        if call.operation == "Invoke":  # No sweep of a single shard can begin.
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "not now"}}, "Invoke")
        if (moment, call.operation) == ("after", "PutItem"):
            stack.clock.sleep(1000)

    stack.cloud.fault = slow
    first, second = stack.sweep(), stack.sweep()

    # With 5 s left no wake-up begins.
    assert first["woken"] == 28
    assert first["woken"] + second["woken"] == 40
    assert first["failed"] == second["failed"] == 0


def test_sweeps_of_shards_complete_an_unfinished_sweep(stack: OfflineStack) -> None:
    # A wake-up takes two seconds here. Eight more invocations have 60 s each.
    late_timers(stack, 60)
    sweeps: list[tuple[int | None, bool]] = []
    stack.watch = lambda event: sweeps.append((event.event.get("shard"), event.response["finished"]))

    def slow(moment: Moment, call: CountedCall) -> None:
        if (moment, call.operation) == ("after", "PutItem"):
            stack.clock.sleep(1000)

    stack.cloud.fault = slow
    stack.sweep()

    assert sweeps[0] == (None, False)
    assert sweeps[1:]
    assert all(finished for _, finished in sweeps[1:])
    assert {present(stack.store.record(f"t{n}")).state for n in range(60)} == {"resolved"}


def test_sweep_releases_a_task_whose_lease_ended(stack: OfflineStack) -> None:
    stack.store.apply(PromiseCreate("w1", stack.clock.now() + HOUR, tags={TARGET: "https://worker.invalid/"}))
    stack.store.apply(TaskAcquire("w1", 0, "gone", 10_000))
    stack.advance(seconds=70)

    task = present(present(stack.store.record("w1")).task)
    assert (task.state, task.version, task.attempts) == ("pending", 1, 1)
    assert "gone did not come back before its lease of 10000 ms ended" in (task.error or "")


def test_callback_that_a_client_registers_resumes_its_awaiter(stack: OfflineStack) -> None:
    wait(stack, "first", "awaiter")
    stack.store.apply(PromiseCreate("second", stack.clock.now() + HOUR))
    stack.store.apply(PromiseRegisterCallback("second", "awaiter"))
    stack.store.apply(PromiseSettle("second", "resolved"))
    stack.pump()

    task = present(present(stack.store.record("awaiter")).task)
    assert (task.state, task.resumes) == ("pending", ("second",))
