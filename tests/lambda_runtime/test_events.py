"""Functions in the real Lambda runtime, with the events of `events/` and with malformed events.

Events and results go over a connection, as with `sam local invoke -e events/worker.json`.
"""

import json
from typing import Any

import pytest

from tests.support.lambda_runtime.emulator import needs_runtime
from tests.support.lambda_runtime.events import WORKFLOW, event
from tests.support.lambda_runtime.stack import RuntimeStack
from tests.support.present import present

pytestmark = needs_runtime


def answer(stack: RuntimeStack, function: str, event: Any) -> Any:
    """Return the result of a function that does not fail."""
    invocation = stack.function(function).invoke(event)
    assert invocation.error_type is None, invocation
    return invocation.payload


def begin_workflow(stack: RuntimeStack) -> None:
    stack.client().begin_rpc(WORKFLOW, "sleeping_workflow", WORKFLOW, 5.0)


# --- Events


def test_dispatch_posts_the_messages_of_the_push_queue(stack: RuntimeStack) -> None:
    pushes = event("dispatch-push.json")
    messages = [json.loads(record["body"]) for record in pushes["Records"]]
    for record, message in zip(pushes["Records"], messages, strict=True):
        # The pushes must stay on this machine.
        path = message["address"].removeprefix("https://").partition("/")[2]
        record["body"] = json.dumps({**message, "address": f"{stack.endpoint.url}/{path}"})

    assert answer(stack, "DispatchFunction", pushes) == {"batchItemFailures": []}
    # They are posted at the same time.
    assert sorted(stack.endpoint.take_pushes()) == [
        ("/resonate", messages[0]["message"]),
        ("/unblock", messages[1]["message"]),
    ]


# --- Logs and metrics


def lines(log: str) -> list[Any]:
    """Return the lines that a function wrote as JSON."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_log_lines_of_the_worker_name_request_and_task(stack: RuntimeStack) -> None:
    begin_workflow(stack)
    worker = stack.start("WorkerFunction")

    first, second = worker.invoke(event("worker.json")), worker.invoke(event("worker.json"))

    (line,) = (line for line in lines(first.log) if line.get("logger") == "resonate.lambda")
    assert (line["level"], line["message"]) == ("INFO", f"task {WORKFLOW} version 1: suspended")
    assert (line["execution_id"], line["task_version"], line["attempt"]) == (WORKFLOW, 1, 1)
    assert f"START RequestId: {line['requestId']}" in first.log
    assert f"Workflow {WORKFLOW} starting, will sleep for 5.0 seconds." in first.log
    cold = [line["cold_start"] for log in (first.log, second.log) for line in lines(log) if "cold_start" in line]
    assert cold == [True, False]


def test_failed_invocation_of_a_worker_is_logged_with_its_task(stack: RuntimeStack) -> None:
    begin_workflow(stack)
    stack.endpoint.functions = frozenset()

    dispatch = stack.function("DispatchFunction")
    assert stack.dispatch() == []
    dispatch.wait_for_output("invoking resonate-worker failed")
    assert present(stack.record(WORKFLOW).task).state == "pending"

    said = [line for line in lines(dispatch.output()) if "invoking resonate-worker failed" in line.get("message", "")]
    assert {(line["execution_id"], line["task_version"], line["attempt"]) for line in said} == {(WORKFLOW, 0, 1)}
    assert all(line["function_request_id"] and line["service"] == "resonate" for line in said)


@pytest.mark.parametrize("service", ["resonate", "shop"])
def test_log_line_is_written_once_with_any_stack_name(deployed: RuntimeStack, service: str) -> None:
    dispatch = deployed.start("DispatchFunction", environment={"POWERTOOLS_SERVICE_NAME": service})

    invocation = dispatch.invoke({"Records": [{"eventSource": "aws:dynamodb", "dynamodb": {"SequenceNumber": "1"}}]})

    [line] = (line for line in lines(invocation.log) if "MalformedRecord" in line.get("exception_name", ""))
    assert (line["service"], line["level"]) == (service, "WARNING")


def test_functions_write_their_metrics(stack: RuntimeStack) -> None:
    begin_workflow(stack)

    invocations = [
        stack.function(name).invoke(event(file))
        for name, file in (
            ("WorkerFunction", "worker.json"),
            ("DispatchFunction", "dispatch.json"),
            ("TickFunction", "tick-timer.json"),
        )
    ]

    measured = [[line for line in lines(each.log) if "_aws" in line] for each in invocations]
    assert [[line["service"] for line in each] for each in measured] == [["resonate"]] * 3
    names = [
        {metric["Name"] for line in each for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
        for each in measured
    ]
    assert names == [{"TasksAcquired", "Suspensions", "ExecutionsStarted"}, {"DispatchLag"}, {"TimerLag"}]
