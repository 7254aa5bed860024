import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from resonate_infra.testing.stack import OfflineStack
from resonate_store.dynamo.items import entry_of, item_of
from resonate_store.model.requests import PromiseGet
from tests.deployment.functions.conftest import Load


def test_the_event_is_what_the_store_writes(event: Load) -> None:
    (record,) = event("dispatch")["Records"]
    for image, effects in (("OldImage", 0), ("NewImage", 1)):
        item: dict[str, Any] = record["dynamodb"][image]
        assert item_of(entry_of(item), token=item["token"]["S"], effects=effects) == item


def test_a_settlement_resumes_who_awaits_it(asleep: OfflineStack, event: Load) -> None:
    asleep.store.apply(PromiseGet("sleep-workflow-1.1"))  # reading it settles it: its time has come

    assert asleep.invoke("DispatchFunction", event("dispatch")) == {"batchItemFailures": []}
    record, sleep = asleep.store.record("sleep-workflow-1"), asleep.store.record("sleep-workflow-1.1")
    assert record is not None
    assert record.task is not None
    assert sleep is not None
    assert (record.task.state, record.task.resumes) == ("pending", ("sleep-workflow-1.1",))
    assert sleep.delivered


def test_an_event_about_what_is_gone_does_nothing(stack: OfflineStack, event: Load) -> None:
    assert stack.invoke("DispatchFunction", event("dispatch")) == {"batchItemFailures": []}


def test_records_that_fail_are_reported_one_by_one_and_logged(
    stack: OfflineStack, event: Load, caplog: pytest.LogCaptureFixture
) -> None:
    (good,) = event("dispatch")["Records"]
    bad = copy.deepcopy(good)
    bad["dynamodb"] |= {"SequenceNumber": "17", "NewImage": {**bad["dynamodb"]["NewImage"], "rev": {"N": "x"}}}

    assert stack.invoke("DispatchFunction", {"Records": [good, bad, good]}) == {
        "batchItemFailures": [{"itemIdentifier": "17"}]
    }
    assert "invalid literal for int() with base 10: 'x'" in caplog.text
    assert stack.invoke("DispatchFunction", {"Records": [bad]}) == {"batchItemFailures": [{"itemIdentifier": "17"}]}


def test_pushes_are_posted(stack: OfflineStack, event: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "resonate_infra.effects.transports.Pusher.push_all",
        lambda _, pushes: [pushed.append((address, message["kind"])) or True for address, message in pushes],
    )

    assert stack.invoke("DispatchFunction", event("dispatch-push")) == {"batchItemFailures": []}
    assert pushed == [
        ("https://worker.example.com/resonate", "execute"),
        ("https://client.example.com/unblock", "unblock"),
    ]


def test_push_without_time_is_visible_at_once_and_counts_anew(
    stack: OfflineStack, event: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions: Any = stack.deployment.functions
    short = replace(functions["DispatchFunction"], timeout_seconds=10)
    monkeypatch.setitem(functions, "DispatchFunction", short)
    monkeypatch.setattr("resonate_infra.effects.transports.Pusher.push_all", lambda _, pushes: [False] * len(pushes))
    batch = event("dispatch-push")

    assert stack.invoke("DispatchFunction", batch) == {"batchItemFailures": []}
    given_back = stack.cloud.client("sqs").receive_message(
        QueueUrl=stack.deployment.queues["PushQueue"].url, MaxNumberOfMessages=10, AttributeNames=["All"]
    )["Messages"]
    addresses = {json.loads(message["Body"])["address"] for message in given_back}
    assert addresses == {json.loads(record["body"])["address"] for record in batch["Records"]}
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in given_back} == {"1"}


def test_a_malformed_push_is_reported(stack: OfflineStack, event: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_infra.effects.transports.Pusher.push_all", lambda _, pushes: [True] * len(pushes))
    batch = event("dispatch-push")
    batch["Records"][0]["body"] = "{}"

    assert stack.invoke("DispatchFunction", batch) == {
        "batchItemFailures": [{"itemIdentifier": batch["Records"][0]["messageId"]}]
    }


@pytest.mark.parametrize(
    "batch", [{}, [], {"Records": []}, {"Records": [{"eventSource": "aws:kinesis"}]}, {"kind": "sweep"}], ids=str
)
def test_anything_else_is_refused(stack: OfflineStack, batch: Any) -> None:
    with pytest.raises(ValueError, match="expected a batch of DynamoDB stream records or of SQS messages"):
        stack.invoke("DispatchFunction", batch)
