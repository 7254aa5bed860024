"""The emulator itself, with a handler that does what it is told: what the other tests here take for granted."""

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


def test_handler_gets_event_context_and_environment(function: RuntimeEmulator) -> None:
    result = function.invoke({"number": 1, "text": "å"})

    assert result.error_type is None
    assert result.payload["event"] == {"number": 1, "text": "å"}
    assert result.payload["function"] == "echo"
    assert result.payload["greeting"] == "good day"
    assert 0 < result.payload["remaining"] <= 3000
    assert "handling {'number': 1" in result.log


def test_process_serves_one_invocation_after_another(function: RuntimeEmulator) -> None:
    first = function.invoke({"turn": 1})
    second = function.invoke({"turn": 2})

    assert first.payload["process"] == second.payload["process"]
    assert "handling {'turn': 1}" not in second.log


def test_concurrent_callers_wait_for_each_other(function: RuntimeEmulator) -> None:
    with ThreadPoolExecutor(max_workers=4) as callers:
        results = list(callers.map(function.invoke, ({"turn": turn} for turn in range(8))))

    assert [result.payload["event"]["turn"] for result in results] == list(range(8))


def test_exception_is_reported_by_its_type(function: RuntimeEmulator) -> None:
    result = function.invoke({"raise": "nothing there"})

    assert result.error_type == "LookupError"
    assert result.payload["errorMessage"] == "nothing there"


def test_running_invocation_can_be_killed_and_a_new_process_takes_over(function: RuntimeEmulator) -> None:
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


def test_killing_an_idle_process_fails_the_next_invocation_only(function: RuntimeEmulator) -> None:
    before = function.invoke({})
    function.kill()

    assert function.invoke({}).error_type == "Runtime.ExitError"
    assert function.invoke({}).payload["process"] != before.payload["process"]


def test_exiting_handler_is_reported(function: RuntimeEmulator) -> None:
    assert function.invoke({"exit": 3}).error_type == "Runtime.ExitError"
    assert function.invoke({}).error_type is None


def test_handler_that_runs_out_of_time_is_stopped(function: RuntimeEmulator) -> None:
    result = function.invoke({"sleep": 60})

    assert result.error_type == "Sandbox.Timedout"
    assert function.invoke({}).error_type is None


def test_unimportable_handler_is_reported(tmp_path: Path) -> None:
    with RuntimeEmulator(handler="nowhere.handler", directory=tmp_path) as emulator:
        result = emulator.invoke({})

    assert result.error_type == "Runtime.ImportModuleError"


def test_stopping_leaves_no_process(function: RuntimeEmulator) -> None:
    process = function.invoke({}).payload["process"]
    function.stop()

    assert not Path(f"/proc/{process}").exists()
    function.stop()


def test_nothing_to_kill_before_the_first_invocation(function: RuntimeEmulator) -> None:
    with pytest.raises(EmulatorError, match="no runtime is running"):
        function.kill()
