"""Bad input, tasks that cannot be done, and tasks without a worker."""

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
from tests.support.present import present
from tests.support.worker_code import WORKFLOWS

ATTEMPTS = 10


def task_of(stack: OfflineStack, id: str) -> Task:
    return present(stack.store.apply(TaskGet(id)).task)


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


def test_task_that_cannot_be_done_is_backed_off_and_halted(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    instants: dict[str, list[float]] = {name: [] for name in POISON}

    def note(event: Event) -> None:
        if event.function == "WorkerFunction":
            instants[event.event["data"]["task"]["id"]].append(event.at / 1000)

    stack.watch = note
    for name, (param, _) in POISON.items():
        creation = PromiseCreate(name, stack.clock.now() + 86_400_000 * 30, param, tags={TARGET: "poll://any@worker"})
        assert stack.store.apply(creation).ok
    stack.advance(hours=6)

    for name, (_, reason) in POISON.items():
        with subtests.test(name):
            task = task_of(stack, name)
            assert (task.state, task.attempts) == ("halted", ATTEMPTS)
            assert "halted after 10 attempts" in (task.error or "")
            assert reason in (task.error or "")
            assert task.halted_at is not None
            with pytest.raises(ResonateHaltedError, match="is halted") as raised:
                begin(name, "double", 1).result(0)
            assert reason in str(raised.value)
            pauses = [later - earlier for earlier, later in itertools.pairwise(instants[name])]
            assert len(pauses) == ATTEMPTS - 1
            for pause, least in zip(pauses, [0, 2, 4, 8, 16, 32, 64, 128, 256], strict=True):
                assert least <= pause <= least + 60


def test_halted_task_can_be_continued_after_a_redeployment(
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


def test_task_with_a_step_beyond_the_timeout_is_halted(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("p1", "laborious", 2, 400.0)
    stack.advance(hours=3)

    assert journal.runs["p1.1"] == ATTEMPTS
    with pytest.raises(ResonateHaltedError, match="did not come back before its lease of 305000 ms ended"):
        handle.result(0)


def test_workflow_that_is_not_deterministic_is_halted_at_once(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("p1", "erratic")
    stack.advance(minutes=10)

    with pytest.raises(ResonateHaltedError, match=r"p1\.1 was run add when it first ran and is now run blob"):
        handle.result(0)
    assert stack.invocations["WorkerFunction"] == 2


def test_failing_tasks_do_not_delay_other_tasks(stack: OfflineStack, begin: Begin) -> None:
    for n in range(3):
        begin(f"p{n}", "nobody")
    began = stack.clock.now()
    healthy = begin("w1", "nap", 60.0)

    assert (stack.run_until_complete("w1").settled_at or 0) - began <= 61_000
    assert healthy.result(0) == "slept for 60.0 seconds"


# Tasks without a worker


@pytest.fixture
def unserved() -> Iterator[OfflineStack]:
    """Stack whose group of workers leads to a missing function."""
    groups = json.dumps({"worker": "lambda://elsewhere"})
    with OfflineStack(code={"WorkerFunction": WORKFLOWS}, parameters={"Groups": groups}, name="unserved") as stack:
        yield stack


def test_task_without_worker_is_not_halted(unserved: OfflineStack) -> None:
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


def test_target_of_an_unmapped_group_is_refused(stack: OfflineStack, begin: Begin) -> None:
    with pytest.raises(
        ResonateStoreError, match=r"nobody serves the group 'gpu' .*RESONATE_GROUPS maps default, worker"
    ):
        begin("w1", "double", 4, target="gpu")
    assert stack.store.record("w1") is None


# Bad input


def test_invalid_id_is_refused_by_client_and_store(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    for id, problem in {"": "empty", "x" * 1001: "1001 bytes", "a\0b": "NUL", "\ud800": "Unicode"}.items():
        with subtests.test(problem):
            with pytest.raises(ValueError, match=problem):
                begin(id, "double", 4)
            response = stack.store.apply(PromiseCreate(id, stack.clock.now() + 1000))
            assert response.status == 400
            assert problem in (response.error or "")


def test_unusual_id_is_accepted(stack: OfflineStack, begin: Begin, subtests: pytest.Subtests) -> None:
    for id in ("a/b", "a#b c", "🚀", "ä" * 499, "a.b.c"):
        with subtests.test(id):
            handle = begin(id, "journey", 1)
            stack.run_until_complete(id)
            assert handle.result(0) == 0


EVENTS: list[Any] = [
    *({}, [], "text", None, 7),
    *({"Records": []}, {"Records": "x"}, {"Records": [{}]}, {"Records": [{"eventSource": "aws:kinesis"}]}),
    *({"kind": "unknown"}, {"kind": "timer"}),
]
EXPECTED = {
    "WorkerFunction": "execute|event object|batch",
    "DispatchFunction": "DynamoDB stream records or of SQS messages",
    "TickFunction": "sweep|batch",
}


def test_malformed_event_is_refused_by_each_function(stack: OfflineStack, subtests: pytest.Subtests) -> None:
    for function, expected in EXPECTED.items():
        for event in EVENTS:
            with subtests.test(function, event=event), pytest.raises(ValueError, match=expected):
                stack.invoke(function, event)


@pytest.mark.usefixtures("cold")
def test_missing_table_is_named(stack: OfflineStack, caplog: pytest.LogCaptureFixture) -> None:
    # The worker and the tick function fail. The dispatcher reports and logs each record.
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
def test_malformed_environment_is_named_at_first_use(stack: OfflineStack, subtests: pytest.Subtests) -> None:
    described = stack.function("TickFunction")
    for variable, value in {
        "RESONATE_TABLE": "",
        "RESONATE_TIMER_QUEUE_URL": "",
        "RESONATE_GROUPS": "{",
        "RESONATE_RETENTION_SECONDS": "a week",
    }.items():
        with (
            subtests.test(variable),
            patch.dict(described.environment, {variable: value}),  # pyright: ignore[reportArgumentType]
            pytest.raises(ValueError, match=variable),
        ):
            stack.invoke("TickFunction", {"kind": "sweep"})
        stack.processes.forget_all()
