"""Bad input gets a specific error; a task that cannot be done does not spin, and one that nobody serves is kept."""

import base64
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from resonate.errors import ResonateHaltedError, ResonateStoreError
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.model.records import Task, Value
from resonate_store.model.requests import PromiseCreate, TaskContinue, TaskGet
from resonate_store.model.tags import TARGET
from tests.deployment.conftest import Begin, Redeploy
from tests.support import journal
from tests.support.worker_code import WORKFLOWS

ATTEMPTS = 10


def task_of(stack: OfflineStack, id: str) -> Task:
    task = stack.store.apply(TaskGet(id)).task
    assert task is not None
    return task


def attempts(stack: OfflineStack) -> list[int]:
    """When a worker was invoked, in seconds."""
    began = stack.clock.now()
    instants: list[Any] = []

    def note(event: Event) -> None:
        if event.function == "WorkerFunction":
            instants.append((event.at - began) / 1000)

    stack.watch = note
    return instants


# Poison


def call(**content: Any) -> Value:
    return Value(data=base64.b64encode(json.dumps(content).encode()).decode())


POISON = {
    "unknown function": (call(func="nobody", args=[], kwargs={}, version=1), "nobody"),
    "unknown version": (call(func="double", args=[1], kwargs={}, version=7), "double"),
    "no call": (call(function="double"), "is not a call"),
    "no JSON": (Value(data="bm90IGpzb24="), "JSON"),
    "no base64": (Value(data="%%%"), "base64"),
    "nothing": (Value(), "is not a call"),
}


@pytest.mark.parametrize(("param", "reason"), POISON.values(), ids=POISON.keys())
def test_a_task_that_cannot_be_done_is_backed_off_and_halted(
    stack: OfflineStack, begin: Begin, param: Value, reason: str
) -> None:
    instants = attempts(stack)
    stack.store.apply(
        PromiseCreate("p1", stack.clock.now() + 86_400_000 * 30, param, tags={TARGET: "poll://any@worker"})
    )
    stack.advance(hours=6)

    task = task_of(stack, "p1")
    assert (task.state, task.attempts) == ("halted", ATTEMPTS)
    assert task.error is not None
    assert "halted after 10 attempts" in task.error
    assert reason in task.error
    assert task.halted_at is not None
    with pytest.raises(ResonateHaltedError, match="is halted") as raised:
        begin("p1", "double", 1).result(0)
    assert reason in str(raised.value)
    pauses = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert len(pauses) == ATTEMPTS - 1
    for pause, least in zip(pauses, [0, 2, 4, 8, 16, 32, 64, 128, 256], strict=True):
        assert least <= pause <= least + 60


def test_a_halted_task_can_be_continued_once_the_reason_is_gone(
    stack: OfflineStack, begin: Begin, redeploy: Redeploy, tmp_path: Path
) -> None:
    begin("p1", "late_arrival", 20)
    stack.advance(hours=6)
    assert task_of(stack, "p1").state == "halted"

    extended = tmp_path / "extended.py"
    source = WORKFLOWS.read_text(encoding="utf-8")
    registered = '@resonate.register(name="late_arrival")\ndef double'
    extended.write_text(source.replace("@resonate.register\ndef double", registered), encoding="utf-8")
    redeploy(extended)
    stack.store.apply(TaskContinue("p1"))
    stack.run_until_complete("p1")

    assert begin("p1", "late_arrival", 20).result(0) == 40


def test_a_step_longer_than_the_timeout_is_halted_with_that_reason(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("p1", "laborious", 2, 400.0)
    stack.advance(hours=3)

    assert journal.runs["p1.1"] == ATTEMPTS
    with pytest.raises(ResonateHaltedError, match="did not come back before its lease of 305000 ms ended"):
        handle.result(0)


def test_a_workflow_that_does_not_repeat_its_steps_is_halted_at_once(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("p1", "erratic")
    stack.advance(minutes=10)

    with pytest.raises(ResonateHaltedError, match=r"p1\.1 was run add when it first ran and is now run blob"):
        handle.result(0)
    assert stack.invocations["WorkerFunction"] == 2


def test_poison_does_not_keep_others_waiting(stack: OfflineStack, begin: Begin) -> None:
    for n in range(3):
        begin(f"p{n}", "nobody")
    began = stack.clock.now()
    healthy = begin("w1", "nap", 60.0)

    assert (stack.run_until_complete("w1").settled_at or 0) - began <= 61_000
    assert healthy.result(0) == "slept for 60.0 seconds"


# Nobody serves it


@pytest.fixture
def unserved() -> Iterator[OfflineStack]:
    """A stack whose workers are deployed elsewhere, and are not there."""
    groups = json.dumps({"worker": "lambda://elsewhere"})
    with OfflineStack(code={"WorkerFunction": WORKFLOWS}, parameters={"Groups": groups}, name="unserved") as stack:
        yield stack


def test_a_task_that_nobody_serves_is_never_halted(unserved: OfflineStack) -> None:
    stack = unserved
    client = stack.client()
    handle = client.options(target="worker").begin_rpc("w1", "double", 4)
    stack.advance(hours=6)

    task = task_of(stack, "w1")
    assert (task.state, task.attempts, task.error, task.version) == ("pending", 0, None, 0)
    assert stack.operations("lambda")["Invoke"] >= 24

    stack.cloud.functions = {**stack.cloud.functions, "elsewhere": "WorkerFunction"}
    stack.advance(minutes=17)
    assert handle.result(0) == 8
    client.stop()


def test_a_target_that_maps_to_nothing_is_refused(stack: OfflineStack, begin: Begin) -> None:
    with pytest.raises(
        ResonateStoreError, match=r"nobody serves the group 'gpu' .*RESONATE_GROUPS maps default, worker"
    ):
        begin("w1", "double", 4, target="gpu")
    assert stack.store.record("w1") is None


# Bad input


@pytest.mark.parametrize(
    ("id", "problem"), [("", "empty"), ("x" * 1001, "1001 bytes"), ("a\0b", "NUL"), ("\ud800", "Unicode")]
)
def test_an_invalid_id_is_refused_by_the_client_and_by_the_store(
    stack: OfflineStack, begin: Begin, id: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        begin(id, "double", 4)
    response = stack.store.apply(PromiseCreate(id, stack.clock.now() + 1000))
    assert response.status == 400
    assert problem in (response.error or "")


@pytest.mark.parametrize("id", ["a/b", "a#b c", "🚀", "ä" * 499, "a.b.c"])
def test_any_other_id_works(stack: OfflineStack, begin: Begin, id: str) -> None:
    handle = begin(id, "journey", 1)
    stack.run_until_complete(id)
    assert handle.result(0) == 0


EVENTS: list[Any] = [{}, [], "text", None, 7, {"Records": []}, {"Records": "x"}, {"Records": [{}]}, {"kind": "unknown"}]
EXPECTED = {
    "WorkerFunction": "execute|event object|batch",
    "DispatchFunction": "DynamoDB stream records or of SQS messages",
    "TickFunction": "sweep|batch",
}


@pytest.mark.parametrize("function", EXPECTED)
@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_an_event_of_a_wrong_shape_gets_a_specific_error(stack: OfflineStack, function: str, event: Any) -> None:
    with pytest.raises(ValueError, match=EXPECTED[function]):
        stack.invoke(function, event)


@pytest.mark.usefixtures("cold")
def test_a_missing_table_is_named(stack: OfflineStack, caplog: pytest.LogCaptureFixture) -> None:
    """The worker and the tick function fail with it; the dispatcher fails record by record, and logs it."""
    execute = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
    gone = {"RESONATE_TABLE": "nowhere"}
    for function, event in [("WorkerFunction", execute), ("TickFunction", {"kind": "sweep"})]:
        described = stack.function(function)
        with (
            patch.dict(described.environment, gone),  # pyright: ignore[reportArgumentType]
            patch.dict(os.environ, gone),
            pytest.raises(Exception, match="there is no table 'nowhere': set RESONATE_TABLE"),
        ):
            stack.invoke(function, event)
    batch = json.loads((WORKFLOWS.parents[3] / "events" / "dispatch.json").read_text())
    with patch.dict(stack.function("DispatchFunction").environment, gone):  # pyright: ignore[reportArgumentType]
        assert len(stack.invoke("DispatchFunction", batch)["batchItemFailures"]) == 1
    assert "there is no table 'nowhere': set RESONATE_TABLE" in caplog.text
    stack.processes.forget_all()


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("RESONATE_TABLE", "", "RESONATE_TABLE"),
        ("RESONATE_TIMER_QUEUE_URL", "", "RESONATE_TIMER_QUEUE_URL"),
        ("RESONATE_GROUPS", "{", "RESONATE_GROUPS"),
        ("RESONATE_RETENTION_SECONDS", "a week", "RESONATE_RETENTION_SECONDS"),
    ],
)
def test_a_malformed_environment_is_named_at_the_first_use(
    stack: OfflineStack, variable: str, value: str, problem: str
) -> None:
    described = stack.function("TickFunction")
    with (
        patch.dict(described.environment, {variable: value}),  # pyright: ignore[reportArgumentType]
        pytest.raises(ValueError, match=problem),
    ):
        stack.invoke("TickFunction", {"kind": "sweep"})
    stack.processes.forget_all()
