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
from tests.support.present import present


def state_of(stack: OfflineStack, id: str = "sleep-workflow-1") -> tuple[str, int]:
    task = present(present(stack.store.record(id)).task)
    return task.state, task.version


# Events with an execute message


def test_worker_runs_the_task_of_an_asynchronous_invocation(begun: OfflineStack, event: Load) -> None:
    assert begun.invoke("WorkerFunction", event("worker")) == {"status": "suspended"}
    assert state_of(begun) == ("suspended", 1)


def test_worker_runs_the_task_of_a_function_url(begun: OfflineStack, event: Load) -> None:
    response = begun.invoke("WorkerFunction", event("worker-url"))

    assert response["statusCode"] == 200
    assert response["headers"] == {"Content-Type": "application/json"}
    assert json.loads(response["body"]) == {"status": "suspended"}


def test_worker_decodes_a_base64_body_of_a_function_url(begun: OfflineStack, event: Load) -> None:
    request = event("worker-url")
    request |= {"body": base64.b64encode(request["body"].encode()).decode(), "isBase64Encoded": True}

    assert begun.invoke("WorkerFunction", request)["statusCode"] == 200
    assert state_of(begun) == ("suspended", 1)


def test_worker_reports_malformed_messages_of_a_batch(begun: OfflineStack, event: Load) -> None:
    bodies = [json.dumps(event("worker")), "not json", json.dumps(event("worker"))]
    records = [
        {"messageId": f"m{n}", "body": body, "eventSource": "aws:sqs", "receiptHandle": "r"}
        for n, body in enumerate(bodies)
    ]

    # The second execute message is stale, because the task is acquired. It is not a failure.
    assert begun.invoke("WorkerFunction", {"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


# Results


def test_worker_completes_the_task_after_its_sleep(asleep: OfflineStack, event: Load) -> None:
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


def test_worker_answers_lost_for_an_acquired_or_missing_task(asleep: OfflineStack, event: Load) -> None:
    assert asleep.invoke("WorkerFunction", event("worker")) == {"status": "lost"}
    missing = event("worker")
    missing["data"]["task"]["id"] = "missing"
    assert asleep.invoke("WorkerFunction", missing) == {"status": "lost"}


def test_worker_releases_a_task_of_an_unknown_function(stack: OfflineStack, event: Load) -> None:
    stack.client().options(target="worker").begin_rpc("sleep-workflow-1", "unknown")
    response = stack.invoke("WorkerFunction", event("worker"))

    assert response["status"] == "released"
    assert "unknown" in response["error"]


# Malformed events


MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "unblock"}, "'execute', not 'unblock'"),
    ({"data": {}}, "expected an execute message"),
    ({"data": {"task": {"id": "w1"}}}, "expected an execute message"),
    ({"data": {"task": {"id": "w1", "version": "0"}}}, "expected an execute message"),
    ({"data": {"task": {"id": 7, "version": 0}}}, "expected an execute message"),
]
REQUESTS: list[tuple[dict[str, Any], int]] = [
    ({"body": ""}, 400),
    ({"body": None}, 400),
    ({"body": "{"}, 400),
    ({"body": "%", "isBase64Encoded": True}, 400),
    ({"requestContext": {"http": {"method": "GET"}}}, 405),
]


def test_worker_refuses_malformed_messages(stack: OfflineStack, event: Load, subtests: pytest.Subtests) -> None:
    for change, problem in MESSAGES:
        with subtests.test(change=change):
            message = {**event("worker"), **change}
            with pytest.raises(ValueError, match=problem):
                stack.invoke("WorkerFunction", message)
            response = stack.invoke("WorkerFunction", {**event("worker-url"), "body": json.dumps(message)})
            assert response["statusCode"] == 400
            assert "error" in json.loads(response["body"])
    for change, status in REQUESTS:
        with subtests.test(change=change):
            assert stack.invoke("WorkerFunction", {**event("worker-url"), **change})["statusCode"] == status


# The cold start


def test_worker_import_freezes_objects_and_loads_a_client() -> None:
    # Frozen objects stay frozen, so this runs in a process of its own.
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
