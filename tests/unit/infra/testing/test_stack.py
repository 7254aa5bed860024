import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from resonate_infra.testing.stack import Event, OfflineStack, Stuck
from resonate_store.model.clock import ManualClock, SystemClock, ambient
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET, TIMER
from tests.support.present import present

HOUR = 3_600_000


@pytest.fixture(scope="module")
def deployed() -> Iterator[OfflineStack]:
    with OfflineStack() as stack:
        yield stack


@pytest.fixture
def stack(deployed: OfflineStack) -> OfflineStack:
    deployed.clear()
    deployed.processes.forget_all()
    return deployed


def begin(stack: OfflineStack, id: str = "w1", seconds: float = 60.0) -> Any:
    return stack.client().options(target="worker").begin_rpc(id, "sleeping_workflow", wf_id=id, secs=seconds)


def timer(stack: OfflineStack, id: str, after: int) -> None:
    stack.store.apply(PromiseCreate(id, stack.clock.now() + after, tags={TIMER: "true"}))


# Executions and their events


def test_workflow_runs_to_its_end(stack: OfflineStack) -> None:
    handle = begin(stack)
    promise = stack.run_until_complete("w1")

    assert promise.state == "resolved"
    assert handle.result(0) == "Workflow w1 completed after sleeping for 60.0 seconds."
    assert stack.invocations == Counter(WorkerFunction=2, TickFunction=1)
    assert [record.id for record in stack.history("w1")] == ["w1", "w1.1"]


def test_stack_runs_are_deterministic(stack: OfflineStack) -> None:
    runs: list[list[tuple[str, int]]] = []
    for _ in range(2):
        stack.clear()
        stack.processes.forget_all()
        events: list[Event] = []
        stack.watch = events.append
        began = stack.clock.now()
        begin(stack)
        stack.run_until_complete("w1")
        runs.append([(event.function, event.at - began) for event in events])

    assert runs[0] == runs[1]
    assert len(runs[0]) == 3


def test_requests_are_counted_without_those_of_the_stack(stack: OfflineStack) -> None:
    begin(stack)
    stack.run_until_complete("w1")

    assert stack.operations() == Counter(PutItem=9, GetItem=4, Query=1)
    assert stack.operations("sqs") == Counter(SendMessage=1)
    assert stack.operations("lambda") == Counter(Invoke=1)
    assert len(stack.calls) < len(stack.cloud.calls)
    stack.reset_counts()
    assert (stack.calls, stack.invocations) == ([], Counter())


def test_history_is_in_numeric_order(stack: OfflineStack) -> None:
    for id in ("w1", "w1.2", "w1.10", "w1.1", "w1.10.1"):
        stack.store.apply(PromiseCreate(id, stack.clock.now() + HOUR))

    assert [record.id for record in stack.history("w1")] == ["w1", "w1.1", "w1.2", "w1.10", "w1.10.1"]


def test_functions_are_found_by_each_name(stack: OfflineStack) -> None:
    arn = stack.deployment.functions["TickFunction"].arn

    assert {stack.function(name).logical_id for name in ("TickFunction", "resonate-tick", arn)} == {"TickFunction"}
    with pytest.raises(KeyError):
        stack.function("nobody")


def test_error_of_a_function_is_raised_and_reported(stack: OfflineStack) -> None:
    events: list[Event] = []
    stack.watch = events.append
    with pytest.raises(ValueError, match="expected"):
        stack.invoke("TickFunction", {})

    assert isinstance(events[0].error, ValueError)
    assert stack.cloud.caller == ""


# Time


def test_stack_clock_is_the_ambient_clock(stack: OfflineStack) -> None:
    assert ambient().now() == stack.clock.now()
    stack.advance(days=1, hours=2, minutes=3, seconds=4.5)
    assert ambient().now() == stack.clock.now()


def test_advance_fires_timers_at_their_time(stack: OfflineStack) -> None:
    began = stack.clock.now()
    instants: list[tuple[str, int]] = []
    stack.watch = lambda event: instants.append((event.function, event.at - began))
    for seconds in (10, 90, 2000):
        timer(stack, f"t{seconds}", seconds * 1000)
    stack.advance(hours=1)

    ticks = [at for function, at in instants if function == "TickFunction"]
    # The distant timer fires by its schedule, two minutes early and floored to a second, and then by the queue.
    assert ticks[:2] == [10_000, 90_000]
    assert 1_879_000 < ticks[2] <= 1_880_000
    assert 2_000_000 <= ticks[3] < 2_001_000
    assert stack.clock.now() == began + HOUR


def test_advance_stops_at_its_end(stack: OfflineStack) -> None:
    timer(stack, "t1", 60_000)
    stack.advance(seconds=59)
    assert present(stack.store.record("t1")).state == "pending"
    stack.advance(seconds=1)
    assert present(stack.store.record("t1")).state == "resolved"


def test_sweep_runs_once_a_minute_if_something_is_due(stack: OfflineStack) -> None:
    stack.lost = lambda _: True
    began = stack.clock.now()
    sweeps: list[int] = []
    stack.watch = lambda event: sweeps.append(event.at - began) if event.event == {"kind": "sweep"} else None
    timer(stack, "t1", 90_000)
    stack.advance(minutes=30)

    assert sweeps == [120_000]


def test_run_until_complete_raises_if_nothing_can_happen(stack: OfflineStack) -> None:
    stack.store.apply(PromiseCreate("p1", stack.clock.now() + HOUR))
    with pytest.raises(Stuck, match="p1 is pending and nothing will happen to it"):
        stack.run_until_complete("p1")
    with pytest.raises(Stuck, match="there is no promise nothing"):
        stack.run_until_complete("nothing")
    timer(stack, "t1", 48 * HOUR)
    with pytest.raises(Stuck):
        stack.run_until_complete("t1", days=1)


# Faults


def test_invoke_of_an_unknown_function_is_refused(stack: OfflineStack) -> None:
    client = stack.cloud.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: nobody"):
        client.invoke(FunctionName="nobody", InvocationType="Event", Payload=b"{}")


# Several stacks


def test_clear_resets_the_stack(stack: OfflineStack) -> None:
    begin(stack, "w1", 3600.0)
    begin(stack, "w2", 10.0)
    stack.pump()
    stack.cloud.fault = lambda *_: None
    stack.duplicate = True
    stack.clear()

    assert stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Count"] == 0
    assert stack.next_event_at() is None
    assert stack.pump() == 0
    assert (stack.cloud.fault, stack.watch, stack.lost, stack.duplicate) == (None, None, None, False)
    begin(stack, "w1", 10.0)
    stack.run_until_complete("w1")
    assert stack.invocations["WorkerFunction"] == 2


def test_closed_stack_restores_environment_and_clock() -> None:
    before, clock = dict(os.environ), ambient()
    for _ in range(2):
        with OfflineStack(name="fleeting", clock=ManualClock(5_000)) as stack:
            assert stack.clock.now() == 5_000
            timer(stack, "t1", 1000)
            assert stack.run_until_complete("t1").settled_at == 6_000
        assert dict(os.environ) == before
        assert ambient() is clock


def test_failed_stack_restores_environment_and_clock(tmp_path: Path) -> None:
    before, clock = dict(os.environ), ambient()
    template = tmp_path / "template.yaml"
    template.write_text("Transform: AWS::Serverless-2016-10-31\nResources:\n  Q: {Type: AWS::SQS::Queue}\n")
    with pytest.raises(Exception, match="expected one table"), OfflineStack(template=template, name="broken"):
        pass

    assert dict(os.environ) == before
    assert ambient() is clock


def test_stack_can_use_the_system_clock() -> None:
    with OfflineStack(name="real", clock=SystemClock()) as stack:
        stack.store.apply(PromiseCreate("w1", stack.clock.now() + HOUR, tags={TARGET: "poll://any@nobody"}))
        timer(stack, "t1", 30)
        assert stack.run_until_complete("t1").state == "resolved"


def test_stack_that_is_set_aside_frees_its_name() -> None:
    with mock_aws():  # Keep the state of moto in between.
        with OfflineStack(name="aside") as first, first.set_aside():
            with OfflineStack(name="bystander") as other:
                assert other.run("hello_world", "other") == "Hello other!"
            assert first.intact
            with OfflineStack(name="aside") as second:
                assert second.run("hello_world", "second") == "Hello second!"
            assert not first.intact
        with OfflineStack(name="aside") as again:
            assert again.run("hello_world", "third") == "Hello third!"


def test_function_without_code_is_named_at_start(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"WorkerFunction has no code: there is no .*nowhere\.py"),
        OfflineStack(name="bare", code={"WorkerFunction": tmp_path / "nowhere.py"}),
    ):
        pass
    with OfflineStack(name="bare") as stack:  # The failed stack left nothing.
        assert stack.run("hello_world", "w1") == "Hello w1!"
