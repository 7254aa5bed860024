import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resonate.testing.faults import Killed
from resonate_infra.testing.process import LimitedClock, Processes
from resonate_infra.testing.template.deployment import TemplateFunction
from resonate_store.model.clock import ManualClock

CODE = """
import os
import dataclasses

import neighbour

calls = 0


@dataclasses.dataclass
class Answer:
    calls: "int"


def handler(event, context):
    global calls
    calls += 1
    if event == "kill":
        from resonate.testing.faults import Killed
        raise Killed
    if event == "fail":
        raise LookupError("no")
    if callable(event):
        event(context)
    return {
        "calls": dataclasses.asdict(Answer(calls))["calls"],
        "variable": os.environ.get("VARIABLE"),
        "shared": os.environ.get("SHARED"),
        "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        "remaining": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "neighbour": neighbour.NAME,
    }
"""


@pytest.fixture
def function(tmp_path: Path) -> TemplateFunction:
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("NAME = 'next door'\n")
    return TemplateFunction(
        "EchoFunction", "echo", "arn:echo", "app.handler", tmp_path, {"VARIABLE": "mine"}, 30, 128, False
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def processes(clock: ManualClock) -> Processes:
    return Processes(LimitedClock(clock), {"SHARED": "ours"})


def test_function_runs_in_its_own_environment(processes: Processes, function: TemplateFunction) -> None:
    assert processes.invoke(function, {}) == {
        "calls": 1,
        "variable": "mine",
        "shared": "ours",
        "name": "echo",
        "remaining": 30_000,
        "arn": "arn:echo",
        "neighbour": "next door",
    }


def test_function_stays_warm_until_it_is_killed_or_forgotten(processes: Processes, function: TemplateFunction) -> None:
    calls: list[int] = []
    for event in ({}, {}, "fail", {}, "kill", {}, "forget", {}):
        if event == "forget":
            processes.forget(function)
        elif event == "fail":
            with pytest.raises(LookupError):
                processes.invoke(function, event)
        elif event == "kill":
            with pytest.raises(Killed):
                processes.invoke(function, event)
        else:
            calls.append(processes.invoke(function, event)["calls"])

    assert calls == [1, 2, 4, 1, 1]
    processes.forget_all()
    assert processes.invoke(function, {})["calls"] == 1


def test_remaining_time_is_counted_on_the_clock_of_the_stack(
    processes: Processes, function: TemplateFunction, clock: ManualClock
) -> None:
    assert processes.invoke(function, lambda _: clock.sleep(12_000))["remaining"] == 18_000
    assert processes.invoke(function, lambda _: clock.sleep(40_000))["remaining"] == 0


def test_function_that_waits_past_its_timeout_is_killed(
    processes: Processes, function: TemplateFunction, clock: ManualClock
) -> None:
    began = clock.now()

    def slow(context: Any) -> None:
        context.clock.sleep(20_000)
        context.clock.sleep(20_000)

    with pytest.raises(Killed, match="longer than its timeout"):
        processes.invoke(function, slow)
    assert clock.now() - began == 30_000
    assert processes.invoke(function, {})["calls"] == 1
    LimitedClock(clock).sleep(3_600_000)


def test_code_of_a_function_can_be_replaced_by_a_file(
    clock: ManualClock, function: TemplateFunction, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    other.write_text("def handler(event, context):\n    return 'other'\n")
    processes = Processes(LimitedClock(clock), {}, {"EchoFunction": other})

    assert processes.invoke(function, {}) == "other"


def test_module_has_the_deployed_name_in_each_process(processes: Processes, function: TemplateFunction) -> None:
    (function.code_directory / "app.py").write_text(
        "import sys\ndef handler(event, context):\n"
        "    return __name__, sys.modules[__name__].handler is handler, event and event()\n"
    )
    other = replace(function, logical_id="OtherFunction")
    before = sys.modules.get("app")

    for _ in range(2):
        assert processes.invoke(function, None) == ("app", True, None)
        processes.forget_all()
    assert processes.invoke(function, lambda: processes.invoke(other, None)) == ("app", True, ("app", True, None))
    assert sys.modules.get("app") is before


def test_code_in_a_package_has_its_full_name(clock: ManualClock, function: TemplateFunction, tmp_path: Path) -> None:
    package = tmp_path / "shop" / "orders"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "main.py").write_text("def handler(event, context):\n    return __name__\n")
    processes = Processes(LimitedClock(clock), {}, {"EchoFunction": package / "main.py"})

    assert processes.invoke(replace(function, handler="main.handler"), None) == "shop.orders.main"


def test_missing_code_is_named(processes: Processes, function: TemplateFunction) -> None:
    with pytest.raises(FileNotFoundError, match=r"EchoFunction has no .*gone\.py"):
        processes.invoke(replace(function, handler="gone.handler"), {})


def test_code_that_cannot_be_loaded_fails_each_invocation(processes: Processes, function: TemplateFunction) -> None:
    (function.code_directory / "app.py").write_text("raise ImportError('broken')\n")
    for _ in range(2):
        with pytest.raises(ImportError, match="broken"):
            processes.invoke(function, {})
