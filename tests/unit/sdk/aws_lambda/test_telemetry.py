"""Metrics and log fields of a Lambda worker, as its invocations write them."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.aws_lambda.telemetry import LogFields
from resonate.payloads import codec
from resonate_store.delivery.metrics import Metrics
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Task
from resonate_store.model.requests import PromiseCreate, PromiseSettle
from resonate_store.model.tags import TARGET
from tests.support.steps import execute

NAMESPACE = {"POWERTOOLS_METRICS_NAMESPACE": "Shop", "POWERTOOLS_SERVICE_NAME": "orders"}


class Deployed:
    """A worker over promises in memory whose handler is called as Lambda calls it."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_735_689_600_000)
        self.store = MemoryStore(self.clock)
        self.resonate = Resonate(store=self.store)
        self.handler = self.resonate.handler()

    def create(self, id: str, function: str, *args: Any) -> None:
        param = codec.encode({"func": function, "args": args}, "the arguments")
        tags = {TARGET: "https://worker.example.com/"}
        assert self.store.apply(PromiseCreate(id, self.clock.now() + 86_400_000, param, tags)).ok

    def invoke(self, id: str, version: int) -> Any:
        return self.handler(execute(id, version), None)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Deployed:
    for name, value in NAMESPACE.items():
        monkeypatch.setenv(name, value)
    return Deployed()


def metrics(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]


def counts(line: dict[str, Any]) -> dict[str, int]:
    [directive] = line["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}


def waiting(ctx: Context) -> Generator[Any, Any, int]:
    one = yield ctx.run(step, 1)
    two = yield ctx.run(step, 2)
    answer = yield ctx.promise()
    yield answer
    three = yield ctx.run(step, 3)
    return one + two + three


def step(_ctx: Context, n: int) -> int:
    return n


def test_metrics_count_steps_suspensions_and_replays(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.resonate.register(waiting)
    deployed.create("w1", "waiting")

    assert deployed.invoke("w1", 0) == {"status": "suspended"}
    deployed.store.apply(PromiseSettle("w1.3", "resolved"))
    assert deployed.invoke("w1", 1) == {"status": "completed"}

    first, second = metrics(capsys)
    assert counts(first) == {"TasksAcquired": 1, "Steps": 2, "Suspensions": 1, "ExecutionsStarted": 1}
    # Two steps and the promise.
    assert counts(second) == {"TasksAcquired": 1, "Steps": 1, "Replays": 1, "ReplayLength": 3}
    assert first["task_id"] == "w1"


def test_metrics_count_no_marks_as_steps(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    @deployed.resonate.register
    def marking(ctx: Context) -> Generator[Any, Any, int]:
        yield ctx.patched("first")
        return (yield ctx.run(step, 1).options(at_most_once=True))

    deployed.create("w1", "marking")

    assert deployed.invoke("w1", 0) == {"status": "completed"}
    assert counts(*metrics(capsys)) == {"TasksAcquired": 1, "Steps": 1, "ExecutionsStarted": 1}


def test_metrics_leave_starts_of_pushed_tasks_to_the_dispatcher(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.resonate.register(step, name="step")
    deployed.create("w1", "step", 1)

    event = {"requestContext": {"http": {"method": "POST"}}, "body": json.dumps(execute("w1", 0))}
    assert deployed.handler(event, None)["statusCode"] == 200

    assert [counts(line) for line in metrics(capsys)] == [{"TasksAcquired": 1}]


def test_metrics_are_lines_in_the_embedded_format(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.resonate.register(step, name="step")
    deployed.create("w1", "step", 1)

    deployed.invoke("w1", 0)

    [line] = metrics(capsys)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == deployed.clock.now()
    assert (directive["Namespace"], directive["Dimensions"], line["service"]) == ("Shop", [["service"]], "orders")
    assert all(metric["Unit"] == "Count" for metric in directive["Metrics"])


def test_metrics_count_lost_and_failed_tasks(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.create("w1", "unknown")

    assert deployed.invoke("another's", 0) == {"status": "lost"}
    assert deployed.invoke("w1", 0)["status"] == "released"
    lost, failed = map(counts, metrics(capsys))
    assert lost == {"TasksLost": 1}
    assert failed == {"TasksAcquired": 1, "TaskFailures": 1, "ExecutionsStarted": 1}


def test_metrics_without_a_namespace_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {"POWERTOOLS_METRICS_NAMESPACE": ""}, {"POWERTOOLS_METRICS_DISABLED": "true"}
    for environment in ({}, {"POWERTOOLS_SERVICE_NAME": "orders"}, *(NAMESPACE | each for each in hidden)):
        Metrics(environment).write({"Steps": 1}, 0)
        assert capsys.readouterr().out == "", environment


@pytest.fixture
def fields() -> LogFields:
    fields = LogFields()
    fields.offered("order-17.2", 3)
    fields.acquired(Task(id="order-17.2", state="acquired", version=4, resumes=0, attempts=1))
    return fields


def record(**attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("mine", logging.INFO, __file__, 1, "charged", None, None)
    made.__dict__.update(attributes)
    return made


def test_log_line_has_the_fields_of_its_task(fields: LogFields) -> None:
    line, own = record(), record(attempt="first")
    fields.filter(own)

    assert fields.filter(line)
    said = {"execution_id": "order-17", "task_id": "order-17.2", "task_version": 4, "attempt": 2, "cold_start": True}
    assert line.__dict__ | said == line.__dict__
    assert own.__dict__["attempt"] == "first", "a field of the line itself stays"


def test_log_line_between_invocations_has_no_task(fields: LogFields) -> None:
    fields.ended()
    between, later = record(), record()
    fields.filter(between)
    fields.offered("order-18", 0)
    fields.filter(later)

    assert "execution_id" not in between.__dict__
    assert later.__dict__["cold_start"] is False
