"""What a worker tells about itself, seen from outside: the lines it writes for the invocations it serves."""

import json
import logging
from collections.abc import Generator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.aws_lambda.telemetry import LogFields, Metrics
from resonate.payloads import codec
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Task
from resonate_store.model.requests import PromiseCreate, PromiseSettle
from resonate_store.model.tags import TARGET

NAMESPACE = {"POWERTOOLS_METRICS_NAMESPACE": "Shop", "POWERTOOLS_SERVICE_NAME": "orders"}


class Deployed:
    """A worker whose handler is called as Lambda would, over promises in memory that nobody else works on."""

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
        return self.handler({"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": version}}}, None)


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


def test_an_invocation_counts_its_steps_its_suspension_and_its_replay(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.resonate.register(waiting)
    deployed.create("w1", "waiting")

    assert deployed.invoke("w1", 0) == {"status": "suspended"}
    deployed.store.apply(PromiseSettle("w1.3", "resolved"))
    assert deployed.invoke("w1", 1) == {"status": "completed"}

    first, second = metrics(capsys)
    assert counts(first) == {"TasksAcquired": 1, "Steps": 2, "Suspensions": 1}
    # Two steps and the promise.
    assert counts(second) == {"TasksAcquired": 1, "Steps": 1, "Replays": 1, "ReplayLength": 3}
    assert first["task_id"] == "w1"


def test_metrics_are_lines_in_the_embedded_format(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.resonate.register(step, name="step")
    deployed.create("w1", "step", 1)

    deployed.invoke("w1", 0)

    [line] = metrics(capsys)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == deployed.clock.now()
    assert (directive["Namespace"], directive["Dimensions"], line["service"]) == ("Shop", [["service"]], "orders")
    assert all(metric["Unit"] == "Count" for metric in directive["Metrics"])


def test_a_task_that_somebody_else_has_is_lost(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    assert deployed.invoke("nobody's", 0) == {"status": "lost"}

    [line] = metrics(capsys)
    assert counts(line) == {"TasksLost": 1}


def test_work_that_cannot_be_done_here_is_a_failure(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.create("w1", "unknown")

    assert deployed.invoke("w1", 0)["status"] == "released"
    [line] = metrics(capsys)
    assert counts(line) == {"TasksAcquired": 1, "TaskFailures": 1}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"POWERTOOLS_SERVICE_NAME": "orders"},
        {**NAMESPACE, "POWERTOOLS_METRICS_NAMESPACE": ""},
        {**NAMESPACE, "POWERTOOLS_METRICS_DISABLED": "true"},
    ],
)
def test_nothing_is_measured_unless_a_namespace_is_configured(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Metrics(environment).write({"Steps": 1}, 0)

    assert capsys.readouterr().out == ""


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


def test_every_line_says_what_was_being_worked_on(fields: LogFields) -> None:
    line = record()

    assert fields.filter(line)
    said = {name: line.__dict__[name] for name in ("execution_id", "task_id", "task_version", "attempt", "cold_start")}
    assert said == {
        "execution_id": "order-17",
        "task_id": "order-17.2",
        "task_version": 4,
        "attempt": 2,
        "cold_start": True,
    }


def test_what_a_line_says_itself_counts_for_more(fields: LogFields) -> None:
    line = record(attempt="first")
    fields.filter(line)

    assert line.__dict__["attempt"] == "first"


def test_lines_between_invocations_belong_to_none_and_only_the_first_is_cold(fields: LogFields) -> None:
    fields.ended()
    between, later = record(), record()
    fields.filter(between)
    fields.offered("order-18", 0)
    fields.filter(later)

    assert "execution_id" not in between.__dict__
    assert later.__dict__["cold_start"] is False
