"""What the functions around the worker count, as CloudWatch reads it from their output."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from msgspec.structs import replace

from resonate_infra.deployed.observability import Observability, fields_of, fields_of_message
from resonate_infra.effects.tick import message_of
from resonate_store.machine.effects import Change
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


class Context:
    """What Powertools wants to know of an invocation."""

    function_name = "dispatch"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:dispatch"
    aws_request_id = "7c0f9d0e-5e56-4a52-9f0e-1f2a3b4c5d6e"


@pytest.fixture
def observability(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observability]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    yield Observability()
    Metrics().clear_metrics()


def written(observability: Observability, capsys: pytest.CaptureFixture[str], *changes: Change) -> dict[str, Any]:
    """The values that an invocation writes in which these changes were delivered at the instant 5,000."""

    @observability.handler
    def handler(_event: dict[str, Any], _context: Any) -> None:
        for change in changes:
            observability.change(change, 5_000)

    handler({}, Context())
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"], line["service"]) == ("Shop", [["service"]], "orders")
    return {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}


def test_an_execution_is_counted_when_it_starts(
    observability: Observability, capsys: pytest.CaptureFixture[str]
) -> None:
    assert written(observability, capsys, Change(None, STARTED)) == {
        "DispatchLag": [4000.0],
        "ExecutionsStarted": [1.0],
    }


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("resolved", "ExecutionsCompleted"),
        ("rejected", "ExecutionsFailed"),
        ("rejected_canceled", "ExecutionsCanceled"),
        ("rejected_timedout", "ExecutionsTimedOut"),
    ],
)
def test_an_execution_is_counted_and_timed_when_it_ends(
    observability: Observability, capsys: pytest.CaptureFixture[str], state: PromiseState, name: str
) -> None:
    ended = replace(STARTED, state=state, settled_at=4_500, written_at=4_500, task=TaskRecord("fulfilled", 1))

    counted = written(observability, capsys, Change(STARTED, ended))

    assert counted == {"DispatchLag": [500.0], name: [1.0], "ExecutionDuration": [3500.0]}


def test_what_waits_in_an_execution_is_no_execution(
    observability: Observability, capsys: pytest.CaptureFixture[str]
) -> None:
    child = replace(STARTED, id="order-17.1", tags={**STARTED.tags, "resonate:origin": "order-17"})
    promise = replace(STARTED, id="answer", task=None, tags={})

    counted = written(observability, capsys, Change(None, child), Change(None, promise))

    assert counted == {"DispatchLag": [4000.0, 4000.0]}


def test_a_task_is_counted_once_when_it_is_halted(
    observability: Observability, capsys: pytest.CaptureFixture[str]
) -> None:
    held = replace(STARTED, task=TaskRecord("acquired", 1))
    halted = replace(STARTED, task=TaskRecord("halted", 1, error="another history"))

    counted = written(observability, capsys, Change(held, halted), Change(halted, halted))

    assert counted["HaltedTasks"] == [1.0]


def test_an_invocation_without_measurements_writes_none(
    observability: Observability, capsys: pytest.CaptureFixture[str]
) -> None:
    observability.handler(lambda _event, _context: None)({}, Context())

    assert '"_aws"' not in capsys.readouterr().out


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**ENVIRONMENT, "POWERTOOLS_METRICS_NAMESPACE": ""},
        {**ENVIRONMENT, "POWERTOOLS_METRICS_DISABLED": "true"},
    ],
)
def test_nothing_is_measured_unless_a_namespace_is_configured(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    observability = Observability(environment)
    observability.handler(lambda _event, _context: observability.observe("SweepLag", 1))({}, Context())

    assert '"_aws"' not in capsys.readouterr().out


def test_lines_about_a_change_name_its_execution_task_and_attempt() -> None:
    image = {"id": {"S": "order-17.2"}, "task": {"M": {"version": {"N": "4"}, "attempts": {"N": "1"}}}}

    assert fields_of({"dynamodb": {"OldImage": {}, "NewImage": image}}) == {
        "execution_id": "order-17",
        "promise_id": "order-17.2",
        "task_version": 4,
        "attempt": 2,
    }
    assert fields_of({"dynamodb": {"OldImage": {"pk": {"S": "p#x"}}}}) == {}


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ({"kind": "timer", "id": "order-17.1", "at": 1}, {"execution_id": "order-17", "promise_id": "order-17.1"}),
        ({"kind": "schedule", "id": "nightly"}, {"schedule_id": "nightly"}),
        ({"kind": "sweep"}, {}),
    ],
)
def test_lines_about_a_timer_name_what_fires(message: dict[str, Any], fields: dict[str, str]) -> None:
    assert fields_of_message(message_of(message)) == fields


def test_outside_of_lambda_logging_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "resonate")
    Observability({})

    logging.getLogger("resonate.dispatch").error("something")

    assert "something" not in capsys.readouterr().out
    assert logging.getLogger("resonate").propagate
