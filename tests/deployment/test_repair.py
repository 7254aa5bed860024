"""What goes wrong between a write and its effects is repeated: by the stream, record by record, and by the sweep."""

import logging
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.pumps import MAX_STREAM_RETRIES
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.model.ids import shard
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskAcquire,
    TaskSuspend,
)
from resonate_store.model.tags import TARGET, TIMER
from tests.deployment.conftest import Begin

HOUR = 3_600_000


def failing(service: str, operation: str, *, times: int, code: str = "InternalError") -> Any:
    """A fault: the first `times` calls of an operation are refused."""
    left = times

    def fault(moment: Moment, call: CountedCall) -> None:
        nonlocal left
        if (moment, call.service, call.operation) == ("before", service, operation) and call.caller and left:
            left -= 1
            raise ClientError({"Error": {"Code": code, "Message": "not now"}}, operation)

    return fault


def wait(stack: OfflineStack, awaited: str, awaiter: str) -> None:
    """A task that is suspended on a promise."""
    deadline = stack.clock.now() + 10 * HOUR
    stack.store.apply(PromiseCreate(awaited, deadline))
    stack.store.apply(PromiseCreate(awaiter, deadline, tags={TARGET: "https://worker.invalid/"}))
    task = stack.store.apply(TaskAcquire(awaiter, 0, "p", 60_000)).task
    assert task is not None
    assert stack.store.apply(TaskSuspend(awaiter, task.version, (awaited,))).ok


# The stream


def test_an_effect_that_fails_reports_its_record_and_is_tried_again(stack: OfflineStack) -> None:
    """Of three timers created at once the second cannot be armed at first."""
    responses: list[Any] = []
    stack.watch = lambda event: responses.append((event.function, event.event, event.response))
    at = stack.clock.now() + 60_000
    for n in range(3):
        stack.store.apply(PromiseCreate(f"t{n}", at, tags={TIMER: "true"}))
    sent = 0

    def fault(moment: Moment, call: CountedCall) -> None:
        nonlocal sent
        if (moment, call.operation, call.caller) == ("before", "SendMessage", "DispatchFunction"):
            sent += 1
            if sent == 2:
                raise ClientError({"Error": {"Code": "InternalError", "Message": "not now"}}, "SendMessage")

    stack.cloud.fault = fault
    stack.pump()

    (_, batch, first), (_, again, second) = responses
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch["Records"]]
    assert first == {"batchItemFailures": [{"itemIdentifier": numbers[1]}]}
    assert [record["dynamodb"]["SequenceNumber"] for record in again["Records"]] == numbers[1:]
    assert second == {"batchItemFailures": []}

    stack.advance(seconds=60)
    assert [stack.store.record(f"t{n}").state for n in range(3)] == ["resolved"] * 3  # pyright: ignore[reportOptionalMemberAccess]


def test_repeating_a_settlement_resumes_nobody_twice(stack: OfflineStack) -> None:
    """The awaiter is resumed, then clearing the settlement fails, so the whole record comes again."""
    wait(stack, "awaited", "awaiter")
    stack.pump()
    stack.store.apply(PromiseSettle("awaited", "resolved"))
    stack.reset_counts()
    puts = 0

    def fault(moment: Moment, call: CountedCall) -> None:
        nonlocal puts
        if (moment, call.operation, call.caller) == ("before", "PutItem", "DispatchFunction"):
            puts += 1
            if puts == 2:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not now"}}, "PutItem")

    stack.cloud.fault = fault
    stack.pump()

    awaiter, awaited = stack.store.record("awaiter"), stack.store.record("awaited")
    assert awaiter is not None
    assert awaiter.task is not None
    assert awaited is not None
    assert (awaiter.task.state, awaiter.task.version, awaiter.task.resumes) == ("pending", 1, ("awaited",))
    assert awaiter.rev == 4, "created, acquired, suspended, resumed: and not written again"
    assert awaited.delivered
    assert stack.invocations["DispatchFunction"] >= 2


def test_what_keeps_failing_is_given_up_and_left_to_the_sweep(stack: OfflineStack, begin: Begin) -> None:
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
    record = stack.store.record("w1")
    assert record is not None
    assert 30_000 <= (promise.settled_at or 0) - record.created_at <= 120_000


def test_a_record_that_is_none_of_ours_holds_up_nobody(stack: OfflineStack, begin: Begin) -> None:
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


def test_the_sweep_looks_into_every_shard(stack: OfflineStack) -> None:
    late_timers(stack, 60)
    assert len({shard(f"t{n}", stack.store.shards) for n in range(60)}) == stack.store.shards

    response = stack.sweep()
    assert (response["woken"], response["failed"], response["finished"]) == (60, 0, True)

    assert {stack.store.record(f"t{n}").state for n in range(60)} == {"resolved"}  # pyright: ignore[reportOptionalMemberAccess]


def test_the_sweep_takes_more_entries_than_one_page_holds(stack: OfflineStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_infra.effects.tick.BATCH", 3)
    late_timers(stack, 60)

    assert stack.sweep()["woken"] == 60


def test_one_bad_entry_does_not_stop_the_sweep(stack: OfflineStack, caplog: pytest.LogCaptureFixture) -> None:
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


def test_the_sweep_stops_in_time_and_the_next_goes_on(stack: OfflineStack) -> None:
    """Each wake-up takes three seconds here - three writes - and an invocation of the tick function ends after 60."""
    late_timers(stack, 30)

    def slow(moment: Moment, call: CountedCall) -> None:
        if call.operation == "Invoke":  # nobody takes shards over
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "not now"}}, "Invoke")
        if (moment, call.operation) == ("after", "PutItem"):
            stack.clock.sleep(1000)

    stack.cloud.fault = slow
    first, second = stack.sweep(), stack.sweep()

    # With 5 s left nothing new is begun.
    assert first["woken"] == 19
    assert first["woken"] + second["woken"] == 30
    assert first["failed"] == second["failed"] == 0


def test_what_one_sweep_does_not_manage_sweeps_of_the_shards_do_in_the_same_minute(stack: OfflineStack) -> None:
    """Each wake-up takes three seconds here; eight functions beside the first have sixty seconds each."""
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
    assert {stack.store.record(f"t{n}").state for n in range(60)} == {"resolved"}  # pyright: ignore[reportOptionalMemberAccess]


def test_the_sweep_ends_a_lease_and_offers_the_task_again(stack: OfflineStack) -> None:
    stack.store.apply(PromiseCreate("w1", stack.clock.now() + HOUR, tags={TARGET: "https://worker.invalid/"}))
    stack.store.apply(TaskAcquire("w1", 0, "gone", 10_000))
    stack.advance(seconds=70)

    record = stack.store.record("w1")
    assert record is not None
    assert record.task is not None
    assert (record.task.state, record.task.version, record.task.attempts) == ("pending", 1, 1)
    assert record.task.error is not None
    assert "gone did not come back before its lease of 10000 ms ended" in record.task.error


def test_a_callback_registered_by_hand_resumes_its_awaiter(stack: OfflineStack) -> None:
    wait(stack, "first", "awaiter")
    stack.store.apply(PromiseCreate("second", stack.clock.now() + HOUR))
    stack.store.apply(PromiseRegisterCallback("second", "awaiter"))
    stack.store.apply(PromiseSettle("second", "resolved"))
    stack.pump()

    record = stack.store.record("awaiter")
    assert record is not None
    assert record.task is not None
    assert (record.task.state, record.task.resumes) == ("pending", ("second",))
