"""Metrics of the functions, in the format that CloudWatch reads from their output."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from msgspec.structs import replace

from resonate_infra.deployed.observability import Observability, fields_of, fields_of_message
from resonate_infra.effects.tick import message_of
from resonate_infra.lambda_context import LambdaContext
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseState, Record, TaskRecord
from resonate_store.model.tags import TARGET

ENVIRONMENT = {"POWERTOOLS_METRICS_NAMESPACE": "Shop", "POWERTOOLS_SERVICE_NAME": "orders"}
STARTED = Record(
    id="order-17",
    state="pending",
    timeout_at=9_000,
    created_at=1_000,
    written_at=1_000,
    tags={TARGET: "lambda://worker"},
    task=TaskRecord("pending", 0, offers=1),
)


CONTEXT = LambdaContext(
    function_name="dispatch",
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:dispatch",
    memory_limit_in_mb=512,
    aws_request_id="7c0f9d0e-5e56-4a52-9f0e-1f2a3b4c5d6e",
    deadline=0,
    clock=ManualClock(),
)


@pytest.fixture
def observability(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observability]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    yield Observability()
    Metrics().clear_metrics()


Written = Callable[..., dict[str, Any]]


@pytest.fixture
def written(observability: Observability, capsys: pytest.CaptureFixture[str]) -> Written:
    """Return a function that returns the metrics of an invocation: it delivers changes at the instant 5,000."""

    def write(*changes: Change) -> dict[str, Any]:
        @observability.handler
        def handler(_event: dict[str, Any], _context: Any) -> None:
            for change in changes:
                observability.change(change, 5_000)

        handler({}, CONTEXT)
        [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"], line["service"]) == ("Shop", [["service"]], "orders")
        return {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}

    return write


ENDS: dict[PromiseState, str] = {
    "resolved": "ExecutionsCompleted",
    "rejected": "ExecutionsFailed",
    "rejected_canceled": "ExecutionsCanceled",
    "rejected_timedout": "ExecutionsTimedOut",
}


def test_executions_are_counted_and_timed(written: Written, subtests: pytest.Subtests) -> None:
    assert written(Change(None, STARTED)) == {"DispatchLag": [4000.0], "ExecutionsStarted": [1.0]}
    for state, name in ENDS.items():
        ended = replace(STARTED, state=state, settled_at=4_500, written_at=4_500, task=TaskRecord("fulfilled", 1))
        with subtests.test(state):
            counted = written(Change(STARTED, ended))
            assert counted == {"DispatchLag": [500.0], name: [1.0], "ExecutionDuration": [3500.0]}


def test_children_and_promises_without_target_are_not_executions(written: Written) -> None:
    child = replace(STARTED, id="order-17.1", tags={**STARTED.tags, "resonate:origin": "order-17"})
    promise = replace(STARTED, id="answer", task=None, tags={})

    assert written(Change(None, child), Change(None, promise)) == {"DispatchLag": [4000.0, 4000.0]}


def test_halted_task_is_counted_once(written: Written) -> None:
    held = replace(STARTED, task=TaskRecord("acquired", 1))
    halted = replace(STARTED, task=TaskRecord("halted", 1, error="another history"))

    assert written(Change(held, halted), Change(halted, halted))["HaltedTasks"] == [1.0]


def test_invocation_without_measurements_writes_no_metrics(
    observability: Observability, capsys: pytest.CaptureFixture[str]
) -> None:
    observability.handler(lambda _event, _context: None)({}, CONTEXT)

    assert '"_aws"' not in capsys.readouterr().out


def test_metrics_are_off_without_a_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    for environment in (
        {},
        {**ENVIRONMENT, "POWERTOOLS_METRICS_NAMESPACE": ""},
        {**ENVIRONMENT, "POWERTOOLS_METRICS_DISABLED": "true"},
    ):
        observability = Observability(environment)
        observability.handler(lambda _event, _context: observability.observe("SweepLag", 1))({}, CONTEXT)  # noqa: B023
        assert '"_aws"' not in capsys.readouterr().out


def test_log_fields_of_a_change_name_execution_task_and_attempt() -> None:
    image = {"id": {"S": "order-17.2"}, "task": {"M": {"version": {"N": "4"}, "attempts": {"N": "1"}}}}

    assert fields_of({"dynamodb": {"OldImage": {}, "NewImage": image}}) == {
        "execution_id": "order-17",
        "promise_id": "order-17.2",
        "task_version": 4,
        "attempt": 2,
    }
    assert fields_of({"dynamodb": {"OldImage": {"pk": {"S": "p#x"}}}}) == {}


def test_log_fields_of_a_tick_name_what_fires() -> None:
    for message, fields in (
        ({"kind": "timer", "id": "order-17.1", "at": 1}, {"execution_id": "order-17", "promise_id": "order-17.1"}),
        ({"kind": "schedule", "id": "nightly"}, {"schedule_id": "nightly"}),
        ({"kind": "sweep"}, {}),
    ):
        assert fields_of_message(message_of(message)) == fields


def test_logging_outside_of_lambda_is_not_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "resonate")
    Observability({})

    logging.getLogger("resonate.dispatch").error("something")

    assert "something" not in capsys.readouterr().out
    assert logging.getLogger("resonate").propagate
