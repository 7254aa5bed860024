"""Emulator of the Lambda runtime, with a handler that follows its event."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.lambda_runtime.emulator import EmulatorError, RuntimeEmulator, needs_runtime

pytestmark = needs_runtime

HANDLER = """
import os
import time


def handler(event, context):
    print("handling", event)
    match event:
        case {"raise": message}:
            raise LookupError(message)
        case {"sleep": seconds}:
            time.sleep(seconds)
        case {"exit": status}:
            os._exit(status)
    return {
        "event": event,
        "function": context.function_name,
        "remaining": context.get_remaining_time_in_millis(),
        "process": os.getpid(),
        "greeting": os.environ["GREETING"],
    }
"""


@pytest.fixture
def function(tmp_path: Path) -> Iterator[RuntimeEmulator]:
    (tmp_path / "app.py").write_text(HANDLER)
    with RuntimeEmulator(
        handler="app.handler",
        directory=tmp_path,
        environment={"GREETING": "good day"},
        function_name="echo",
        timeout_seconds=3,
    ) as emulator:
        yield emulator


def test_emulator_runs_invocations_in_turn_in_one_process(function: RuntimeEmulator) -> None:
    with ThreadPoolExecutor(max_workers=4) as callers:
        results = list(callers.map(function.invoke, ({"turn": turn, "text": "å"} for turn in range(8))))

    assert [result.error_type for result in results] == [None] * 8
    assert [result.payload["event"] for result in results] == [{"turn": turn, "text": "å"} for turn in range(8)]
    assert {(result.payload["function"], result.payload["greeting"]) for result in results} == {("echo", "good day")}
    assert len({result.payload["process"] for result in results}) == 1
    assert all(0 < result.payload["remaining"] <= 3000 for result in results)
    assert [result.log.count("handling {'turn'") for result in results] == [1] * 8
    assert [f"handling {{'turn': {turn}," in result.log for turn, result in enumerate(results)] == [True] * 8


def test_emulator_reports_errors_and_continues(function: RuntimeEmulator) -> None:
    raised = function.invoke({"raise": "nothing there"})
    assert (raised.error_type, raised.payload["errorMessage"]) == ("LookupError", "nothing there")
    assert function.invoke({"exit": 3}).error_type == "Runtime.ExitError"
    assert function.invoke({"sleep": 60}).error_type == "Sandbox.Timedout"
    assert function.invoke({}).error_type is None


def test_emulator_starts_a_process_after_a_kill_and_leaves_none(function: RuntimeEmulator) -> None:
    with pytest.raises(EmulatorError, match="no runtime is running"):
        function.kill()
    before = function.invoke({})
    with ThreadPoolExecutor(max_workers=1) as caller:
        running = caller.submit(function.invoke, {"sleep": 2})
        function.wait_for_output("handling {'sleep': 2}")
        function.kill()
        killed = running.result()
    after = function.invoke({})
    function.kill()
    assert [killed.error_type, function.invoke({}).error_type] == ["Runtime.ExitError"] * 2
    last = function.invoke({})
    function.stop()

    assert (after.error_type, last.error_type) == (None, None)
    assert len({each.payload["process"] for each in (before, after, last)}) == 3
    assert not Path(f"/proc/{last.payload['process']}").exists()
    function.stop()
