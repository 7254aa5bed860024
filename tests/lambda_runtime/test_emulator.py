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


def test_emulator_starts_a_process_after_a_kill(function: RuntimeEmulator) -> None:
    before = function.invoke({})
    with ThreadPoolExecutor(max_workers=1) as caller:
        running = caller.submit(function.invoke, {"sleep": 2})
        function.wait_for_output("handling {'sleep': 2}")
        function.kill()
        killed = running.result()
    after = function.invoke({})

    assert killed.error_type == "Runtime.ExitError"
    assert after.error_type is None
    assert after.payload["process"] != before.payload["process"]


def test_emulator_kill_of_an_idle_process_fails_one_invocation(function: RuntimeEmulator) -> None:
    before = function.invoke({})
    function.kill()

    assert function.invoke({}).error_type == "Runtime.ExitError"
    assert function.invoke({}).payload["process"] != before.payload["process"]


def test_emulator_reports_an_unimportable_handler(tmp_path: Path) -> None:
    with RuntimeEmulator(handler="nowhere.handler", directory=tmp_path) as emulator:
        result = emulator.invoke({})

    assert result.error_type == "Runtime.ImportModuleError"


def test_emulator_stop_leaves_no_process(function: RuntimeEmulator) -> None:
    process = function.invoke({}).payload["process"]
    function.stop()

    assert not Path(f"/proc/{process}").exists()
    function.stop()


def test_emulator_kill_before_the_first_invocation_is_refused(function: RuntimeEmulator) -> None:
    with pytest.raises(EmulatorError, match="no runtime is running"):
        function.kill()
