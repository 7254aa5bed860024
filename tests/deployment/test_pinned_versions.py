"""Executions that stay with the version of the worker that began them (docs/rules.md N1 to N5)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.execution_requests import TaskRepin
from resonate_store.model.records import Record
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.deployment.functions.conftest import ask
from tests.support.faults import Fault, in_turn, positions
from tests.support.present import present

pytestmark = IN_BOTH_DELIVERIES
CODE = """
import os
from resonate import Context, Resonate

resonate = Resonate(group="worker")
NAME = "{name}"

def note(ctx: Context, what: str) -> str:
    return what + " by " + NAME

def other(ctx: Context, what: str) -> str:
    return what

@resonate.register
def child(ctx: Context) -> str:
    return (yield ctx.run(note, "child"))

@resonate.register
def order(ctx: Context):
    begun = yield ctx.run({step}, "begun")
    yield ctx.sleep(3600)
    called = yield ctx.rpc("child")
    return [begun, called, (yield ctx.run(note, "ended")), os.environ["AWS_LAMBDA_FUNCTION_VERSION"]]

handler = resonate.handler()
"""
Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def deployed(delivery: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfflineStack]:
    path = tmp_path_factory.mktemp("code") / "app.py"
    path.write_text(CODE.format(name="first", step="note"))
    parameters = {"Delivery": delivery, "PinVersions": "on", "Revision": "r1"}
    with OfflineStack(code={"WorkerFunction": path}, parameters=parameters) as stack:
        yield stack


@pytest.fixture
def deploy(stack: OfflineStack, tmp_path: Path) -> Deploy:
    """Return a function that deploys code with a name, and returns its version. `step` changes the first command."""

    def deploy(name: str, step: str = "note") -> str:
        path = tmp_path / name / "app.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(CODE.format(name=name, step=step))
        stack.redeploy("WorkerFunction", path)
        return stack.function("resonate-worker:live").version

    return deploy


def record_of(stack: OfflineStack, id: str) -> Record:
    return present(stack.store.record(id))


def halted(stack: OfflineStack, id: str) -> str:
    """Return the error of a halted task."""
    task = present(record_of(stack, id).task)
    assert task.state == "halted"
    return task.error or ""


def asleep(stack: OfflineStack, begin: Begin, id: str) -> Any:
    handle = begin(id, "order")
    stack.advance(minutes=5)
    assert present(record_of(stack, id).task).state == "suspended"
    return handle


def test_execution_stays_with_the_version_that_began_it(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    old = deploy("A")
    first = asleep(stack, begin, "first")
    new = deploy("B", step="other")
    second = begin("second", "order")
    stack.run_until_complete("first")
    stack.run_until_complete("second")

    assert first.result(0) == ["begun by A", "child by B", "ended by A", old]
    assert second.result(0) == ["begun", "child by B", "ended by B", new]
    assert [record_of(stack, id).pinned for id in ("first", "second", "first.3")] == [
        f"lambda://resonate-worker:{version}" for version in (old, new, new)
    ]


def test_call_without_a_target_goes_to_the_alias(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    deploy("A")
    asleep(stack, begin, "w")
    stack.run_until_complete("w")

    assert record_of(stack, "w.3").target == "lambda://resonate-worker:live"


def test_caller_is_taken_over_by_its_own_version_only(
    stack: OfflineStack, begin: Begin, deploy: Deploy, delivery: str
) -> None:
    def invocations_after(id: str) -> int:
        stack.reset_counts()
        stack.run_until_complete(id)
        return stack.invocations["WorkerFunction"]

    deploy("A")
    asleep(stack, begin, "same")
    same = invocations_after("same")
    asleep(stack, begin, "another")
    deploy("B")

    assert invocations_after("another") - same == {"writer": 1, "stream": 0}[delivery]


def test_moved_execution_takes_the_newest_code(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    deploy("A")
    handle = asleep(stack, begin, "w")
    new = deploy("B")
    assert stack.store.apply(TaskRepin("w")).ok
    stack.run_until_complete("w")

    assert handle.result(0) == ["begun by A", "child by B", "ended by B", new]
    assert record_of(stack, "w").pinned == f"lambda://resonate-worker:{new}"


def test_halt_names_the_version_that_ran(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    old = deploy("A")
    handle = asleep(stack, begin, "w")
    new = deploy("B", step="other")
    stack.store.apply(TaskRepin("w", f"lambda://resonate-worker:{new}"))
    stack.advance(hours=2)

    error = halted(stack, "w")
    assert "w.1 was run note when it first ran and is now run other" in error
    assert error.endswith(f"; it ran version {new} of the function resonate-worker")

    answer = ask(stack, "task.repin", {"id": "w", "pinned": f"lambda://resonate-worker:{old}"})
    assert (answer.status, answer.data["task"]["state"]) == (200, "pending")
    stack.run_until_complete("w")
    assert handle.result(0)[2:] == ["ended by A", old]


def test_deleted_version_halts_the_execution_until_it_is_moved(
    stack: OfflineStack, begin: Begin, deploy: Deploy
) -> None:
    old = deploy("A")
    handle = asleep(stack, begin, "w")
    new = deploy("B")
    stack.versions.delete("WorkerFunction", old)
    stack.advance(hours=2)

    assert halted(stack, "w") == (
        f"version {old} of the function resonate-worker, to which the execution is pinned, does not exist: move it to"
        " another version with `resonate executions repin w`"
    )
    assert stack.store.apply(TaskRepin("w")).ok
    stack.run_until_complete("w")
    assert handle.result(0) == ["begun by A", "child by B", "ended by B", new]


def test_sweep_halts_an_execution_whose_version_was_deleted(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    old = deploy("A")
    asleep(stack, begin, "w")
    stack.lose_messages()
    stack.advance(minutes=56)
    assert present(record_of(stack, "w").task).state == "pending"
    stack.lose_messages(0)
    deploy("B")
    stack.versions.delete("WorkerFunction", old)
    stack.advance(minutes=2)

    assert f"version {old} of the function resonate-worker" in halted(stack, "w")


def test_task_whose_target_is_a_missing_version_is_not_halted(stack: OfflineStack, begin: Begin) -> None:
    begin("w", "order", target="lambda://resonate-worker:999")
    stack.advance(minutes=10)

    task = present(record_of(stack, "w").task)
    assert (task.state, task.version) == ("pending", 0)
    assert task.offers > 1


def test_move_during_a_halt_for_a_deleted_version_wins(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    old = deploy("A")
    handle = asleep(stack, begin, "w")
    new = deploy("B")
    stack.versions.delete("WorkerFunction", old)
    moved: list[bool] = []

    def move(moment: Moment, call: CountedCall) -> None:
        if (
            not moved
            and (moment, call.operation) == ("before", "Invoke")
            and present(record_of(stack, "w").task).version
        ):
            moved.append(True)
            assert stack.store.apply(TaskRepin("w")).ok

    stack.cloud.fault = move
    stack.run_until_complete("w")
    assert (moved, handle.result(0)[3]) == ([True], new)


def test_pinning_costs_no_request(
    stack: OfflineStack, begin: Begin, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def requests_of(id: str) -> Counter[tuple[str, str]]:
        stack.reset_counts()
        asleep(stack, begin, id)
        stack.run_until_complete(id)
        return Counter((call.service, call.operation) for call in stack.calls)

    deploy("A")
    pinned = requests_of("pinned")
    for name, function in list(stack.deployment.functions.items()):
        environment = {key: text.replace(":live", "") for key, text in function.environment.items()}
        environment["RESONATE_PIN_ALIAS"] = ""
        monkeypatch.setitem(stack.deployment.functions, name, replace(function, environment=environment))
    stack.processes.forget_all()

    assert requests_of("plain") == pinned
    assert record_of(stack, "plain").pinned is None
    stack.processes.forget_all()


def test_unpinned_execution_takes_the_code_of_the_alias(stack: OfflineStack, begin: Begin, deploy: Deploy) -> None:
    deploy("A")
    handle = asleep(stack, begin, "w")
    stack.store.apply(TaskRepin("w", unpin=True))
    new = deploy("B")
    stack.run_until_complete("w")

    assert handle.result(0)[2:] == ["ended by B", new]
    assert record_of(stack, "w").pinned is None


@in_turn(*get_args(Moment))
def test_fault_at_each_request_keeps_the_version(
    stack: OfflineStack, begin: Begin, deploy: Deploy, moments: tuple[Moment, ...]
) -> None:
    for position in itertools.chain(range(1, 4), positions()):  # the first ones are about the first acquisition
        stack.clear()
        old = deploy("A")
        moment = moments[position % len(moments)]
        id = f"pinned-{moment}-{position}"
        fault = Fault(stack, "WorkerFunction", moment, position)
        handle = begin(id, "order")
        stack.cloud.fault = fault
        while not present(record_of(stack, id).task).version:
            stack.advance(minutes=1)
        deploy("B", step="other")
        stack.run_until_complete(id)

        begun, _, ended, version = handle.result(0)
        assert (begun, ended, version) == ("begun by A", "ended by A", old), fault.hit
        assert record_of(stack, id).pinned == f"lambda://resonate-worker:{old}", fault.hit
        if fault.hit is None:
            break
    assert position >= 8
