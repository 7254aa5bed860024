"""Workflows whose worker is killed in its sleep, killed in a step, or out of time.

Processes and time are real. Only the table, the stream and the timer queue connect one invocation with the next.
"""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.sleeps import LATENESS, measure
from resonate_store.model.records import TaskRecord
from tests.support.hypothesis_settings import in_ci
from tests.support.lambda_runtime.emulator import RuntimeEmulator, needs_runtime
from tests.support.lambda_runtime.stack import WORKFLOWS, RuntimeStack, wait_until
from tests.support.present import present

pytestmark = needs_runtime

LEASE_MARGIN = 5_000
"""Milliseconds that the lease of a worker outlasts its invocation."""
SWEEP = {"kind": "sweep"}


def test_sleep_outlasts_the_worker_that_began_it(stack: RuntimeStack) -> None:
    client = stack.client()
    started = time.monotonic()
    nap = client.begin_rpc("nap", "sleeping_workflow", "nap", 1.8)
    (offer,) = stack.dispatch()
    worker = stack.start("WorkerFunction")
    assert worker.invoke(offer).payload == {"status": "suspended"}
    worker.kill()

    # A second call with the id gets the same execution.
    client.begin_rpc("nap", "sleeping_workflow", "nap", 1.8)
    assert stack.dispatch() == []
    assert stack.record("nap").pending
    stack.fire_timers(within=10)
    slept = time.monotonic() - started
    (offer,) = stack.dispatch()
    another = stack.start("WorkerFunction")

    assert another.invoke(offer).payload == {"status": "completed"}
    assert nap.result(0) == "Workflow nap completed after sleeping for 1.8 seconds."
    assert slept >= 1.8
    assert another.invoke(offer).payload == {"status": "lost"}


def test_sleep_ends_soon_after_its_time(stack: RuntimeStack) -> None:
    # It must not end early. On a busy machine it can be late, so three sleeps are tried.
    for tried in range(3):
        if tried:
            stack.redeploy()
        (took,) = measure(stack, 1, 2.0)
        assert took >= 2.0
        if took <= 2.0 + LATENESS:
            return

    pytest.fail(f"a sleep of two seconds was over after {took}, the third time as well")


def test_interrupted_step_of_a_killed_worker_runs_again(stack: RuntimeStack, tmp_path: Path) -> None:
    timeout_seconds = 2
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    execution = stack.client().begin_rpc("guarded-1", "guarded", str(journal), str(gate))
    (offer,) = stack.dispatch()
    worker = warm_worker(stack, timeout_seconds)

    with ThreadPoolExecutor(max_workers=1) as caller:
        running = caller.submit(worker.invoke, offer)
        wait_until(lambda: names_in(journal)["second"] == 1, within=5)
        worker.kill()
        assert running.result().error_type == "Runtime.ExitError"
    held = task_of(stack, "guarded-1")
    gate.touch()

    # The task stays acquired until its lease ends, because the process could still run.
    assert held.state == "acquired"
    assert held.ttl is not None
    assert LEASE_MARGIN < held.ttl <= LEASE_MARGIN + timeout_seconds * 1000
    tick = stack.function("TickFunction")
    tick.invoke(SWEEP)
    assert stack.dispatch() == []
    assert worker.invoke(offer).payload == {"status": "lost"}

    wait_until(lambda: stack.store.clock.now() >= (held.expires_at or 0), within=10)
    assert tick.invoke(SWEEP).payload["failed"] == 0
    (offer,) = stack.dispatch()
    assert worker.invoke(offer).payload == {"status": "completed"}
    assert execution.result(0) == ["first", "second", "third"]
    assert names_in(journal) == {"first": 1, "second": 2, "third": 1}


def test_worker_releases_its_task_before_its_timeout(stack: RuntimeStack, tmp_path: Path) -> None:
    steps, secs = 12, 0.4
    timeout_seconds = 5
    journal = tmp_path / "journal"
    execution = stack.client().begin_rpc("slow-1", "slow", str(journal), steps, secs)
    (offer,) = stack.dispatch()
    worker = warm_worker(stack, timeout_seconds)

    started = time.monotonic()
    assert worker.invoke(offer).payload == {"status": "released"}
    assert time.monotonic() - started < timeout_seconds
    done = len(names_in(journal))
    assert 0 < done < steps

    (offer,) = stack.dispatch()
    assert task_of(stack, "slow-1").attempts == 0
    assert worker.invoke(offer).payload == {"status": "completed"}
    assert execution.result(0) == [f"step {number}" for number in range(steps)]
    assert names_in(journal) == {f"step {number}": 1 for number in range(steps)}


def test_steps_of_a_worker_run_concurrently(stack: RuntimeStack) -> None:
    execution = stack.client().begin_rpc("together-1", "together")
    (offer,) = stack.dispatch()

    assert stack.start("WorkerFunction", directory=WORKFLOWS).invoke(offer).payload == {"status": "completed"}
    assert len(set(execution.result(0))) == 2


def warm_worker(stack: RuntimeStack, timeout_seconds: int) -> RuntimeEmulator:
    """Start a worker, and invoke it once, so that the next invocation has its full time."""
    worker = stack.start("WorkerFunction", directory=WORKFLOWS, timeout_seconds=timeout_seconds)
    worker.invoke({})
    return worker


def task_of(stack: RuntimeStack, id: str) -> TaskRecord:
    return present(stack.record(id).task)


def names_in(journal: Path) -> Counter[str]:
    """Return how often each step has begun."""
    if not journal.exists():
        return Counter()
    return Counter(line.rpartition(" ")[0] for line in journal.read_text().splitlines())


@in_ci
def test_log_lines_of_a_workflow_name_its_execution(stack: RuntimeStack) -> None:
    stack.client().begin_rpc("talk", "talkative", 1.2)
    worker = stack.start("WorkerFunction", directory=WORKFLOWS)
    (offer,) = stack.dispatch()
    assert worker.invoke(offer).payload == {"status": "suspended"}
    assert stack.dispatch() == []
    stack.fire_timers(within=10)
    (offer,) = stack.dispatch()
    assert worker.invoke(offer).payload == {"status": "completed"}

    written = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    said = [
        (line["message"], line["level"], line["task_version"], line["attempt"], line["cold_start"], line.get("id"))
        for line in written
        if line.get("execution_id") == "talk" and line.get("logger") != "resonate.lambda" and "message" in line
    ]
    assert said == [
        ("falling asleep", "INFO", 1, 1, True, "talk"),
        ("awake", "INFO", 2, 1, False, "talk"),
        ("in a step", "WARNING", 2, 1, False, None),
        ("in a step, too", "INFO", 2, 1, False, "talk.2"),
        ("done", "WARNING", 2, 1, False, "talk"),
    ]
    (first, *_) = (line for line in written if line.get("message") == "falling asleep")
    assert (first["task_id"], first["mood"], first["root_id"]) == ("talk", "tired", "talk")
    assert f"START RequestId: {first['requestId']}" in worker.output()
