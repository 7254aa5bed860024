import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from resonate_infra.testing.stack import OfflineStack
from resonate_store.dynamo.items import entry_of, item_of
from resonate_store.model.requests import PromiseGet
from tests.deployment.functions.conftest import Load
from tests.support.present import present


def test_dispatch_event_has_the_items_of_the_store(event: Load) -> None:
    (record,) = event("dispatch")["Records"]
    for image, effects in (("OldImage", 0), ("NewImage", 1)):
        item: dict[str, Any] = record["dynamodb"][image]
        assert item_of(entry_of(item), token=item["token"]["S"], effects=effects) == item


def test_dispatch_of_a_settlement_resumes_the_awaiter(asleep: OfflineStack, event: Load) -> None:
    asleep.store.apply(PromiseGet("sleep-workflow-1.1"))  # A read settles it, because it is due.

    assert asleep.invoke("DispatchFunction", event("dispatch")) == {"batchItemFailures": []}
    task = present(present(asleep.store.record("sleep-workflow-1")).task)
    assert (task.state, task.resumes) == ("pending", ("sleep-workflow-1.1",))
    assert present(asleep.store.record("sleep-workflow-1.1")).delivered


def test_dispatch_of_a_deleted_record_does_nothing(stack: OfflineStack, event: Load) -> None:
    assert stack.invoke("DispatchFunction", event("dispatch")) == {"batchItemFailures": []}


def test_dispatch_reports_and_logs_each_failed_record(
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


def test_dispatch_of_a_queue_batch_posts_pushes(
    stack: OfflineStack, event: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_dispatch_without_time_queues_pushes_again(
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


def test_dispatch_reports_a_malformed_push(stack: OfflineStack, event: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_infra.effects.transports.Pusher.push_all", lambda _, pushes: [True] * len(pushes))
    batch = event("dispatch-push")
    batch["Records"][0]["body"] = "{}"

    assert stack.invoke("DispatchFunction", batch) == {
        "batchItemFailures": [{"itemIdentifier": batch["Records"][0]["messageId"]}]
    }
