import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.stack import Event, OfflineStack
from tests.deployment.functions.conftest import Load


def state_of(stack: OfflineStack, id: str = "sleep-workflow-1") -> tuple[str, int]:
    record = stack.store.record(id)
    assert record is not None
    assert record.task is not None
    return record.task.state, record.task.version


# What carries an execute message


def test_an_asynchronous_invoke(begun: OfflineStack, event: Load) -> None:
    assert begun.invoke("WorkerFunction", event("worker")) == {"status": "suspended"}
    assert state_of(begun) == ("suspended", 1)


def test_a_function_url(begun: OfflineStack, event: Load) -> None:
    response = begun.invoke("WorkerFunction", event("worker-url"))

    assert response["statusCode"] == 200
    assert response["headers"] == {"Content-Type": "application/json"}
    assert json.loads(response["body"]) == {"status": "suspended"}


def test_a_function_url_with_a_base64_body(begun: OfflineStack, event: Load) -> None:
    request = event("worker-url")
    request |= {"body": base64.b64encode(request["body"].encode()).decode(), "isBase64Encoded": True}

    assert begun.invoke("WorkerFunction", request)["statusCode"] == 200
    assert state_of(begun) == ("suspended", 1)


def test_a_batch_of_messages(begun: OfflineStack, event: Load) -> None:
    bodies = [json.dumps(event("worker")), "not json", json.dumps(event("worker"))]
    records = [
        {"messageId": f"m{n}", "body": body, "eventSource": "aws:sqs", "receiptHandle": "r"}
        for n, body in enumerate(bodies)
    ]

    # The second execute message is stale: somebody has the task, which is no failure.
    assert begun.invoke("WorkerFunction", {"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


# How it ends


def test_the_task_is_completed_after_its_sleep(asleep: OfflineStack, event: Load) -> None:
    again = event("worker")
    again["data"]["task"]["version"] = 1
    invoked: list[Event] = []
    asleep.watch = invoked.append
    asleep.invoke("TickFunction", event("tick-timer"))
    asleep.pump()

    assert [(each.event, each.response) for each in invoked if each.function == "WorkerFunction"] == [
        (again, {"status": "completed"})
    ]
    assert state_of(asleep) == ("fulfilled", 2)


def test_the_task_is_lost_to_whoever_comes_late(asleep: OfflineStack, event: Load) -> None:
    assert asleep.invoke("WorkerFunction", event("worker")) == {"status": "lost"}


def test_a_task_that_does_not_exist_is_lost(stack: OfflineStack, event: Load) -> None:
    assert stack.invoke("WorkerFunction", event("worker")) == {"status": "lost"}


def test_a_function_that_is_not_registered_is_released_with_the_reason(stack: OfflineStack, event: Load) -> None:
    stack.client().options(target="worker").begin_rpc("sleep-workflow-1", "unknown")
    response = stack.invoke("WorkerFunction", event("worker"))

    assert response["status"] == "released"
    assert "unknown" in response["error"]


# Anything else


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "unblock"}, "'execute', not 'unblock'"),
        ({"data": {}}, "expected an execute message"),
        ({"data": {"task": {"id": "w1"}}}, "expected an execute message"),
        ({"data": {"task": {"id": "w1", "version": "0"}}}, "expected an execute message"),
        ({"data": {"task": {"id": 7, "version": 0}}}, "expected an execute message"),
    ],
)
def test_a_message_of_another_shape(stack: OfflineStack, event: Load, change: dict[str, Any], problem: str) -> None:
    message = {**event("worker"), **change}
    with pytest.raises(ValueError, match=problem):
        stack.invoke("WorkerFunction", message)

    response = stack.invoke("WorkerFunction", {**event("worker-url"), "body": json.dumps(message)})
    assert response["statusCode"] == 400
    assert "error" in json.loads(response["body"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"body": ""}, 400),
        ({"body": None}, 400),
        ({"body": "{"}, 400),
        ({"body": "%", "isBase64Encoded": True}, 400),
        ({"requestContext": {"http": {"method": "GET"}}}, 405),
    ],
)
def test_a_request_of_another_shape(stack: OfflineStack, event: Load, change: dict[str, Any], status: int) -> None:
    assert stack.invoke("WorkerFunction", {**event("worker-url"), **change})["statusCode"] == status


# The cold start


def test_the_runtime_finds_a_client_and_frozen_objects_and_collects_garbage_again() -> None:
    """In a process of its own: what is frozen stays frozen."""
    program = (
        "import gc, os, sys; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001';"
        "import functions.worker.app;"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000, 'botocore.client' in sys.modules)"
    )
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "offline",
        "AWS_SECRET_ACCESS_KEY": "offline",
        "RESONATE_TABLE": "promises",
    }
    root = Path(__file__).parents[3]

    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("True True True\n", "")
