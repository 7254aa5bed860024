import json
import os
import subprocess
import sys
from pathlib import Path

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


# Malformed events


# The cold start


def test_worker_import_freezes_objects_and_loads_a_client() -> None:
    # Frozen objects stay frozen, so this runs in a process of its own.
    program = (
        "import gc, os, sys; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001';"
        "import functions.worker.app;"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000, 'resonate_store.aws.dynamodb' in sys.modules)"
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
