"""Examples: the output that their READMEs show, in memory and on the offline stack."""

import base64
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.support.faults import Fault
from tests.support.present import present

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
PAUSE = 90.0
"""Seconds that are enough for a worker to suspend."""
CARD = "4000 0566 5566 5556"
"""Number that a store must not contain in plain text."""
WITH_SERVER = {
    "async_gateway",
    "async_gateway_fastapi",
    "browser_worker",
    "durable_sleep",
    "human_in_the_loop",
    "load_balancing",
    "token_auth",
}
"""Examples of several processes, which test_with_server.py and test_browser_worker.py test."""
PAUSES = {"delay", "secs_between"}
"""Arguments with the duration of a pause."""


class Case(NamedTuple):
    """Workflow of an example.

    Attributes:
        result: what it returns.
        says: the lines that it prints. Replay does not repeat them.
        workers: minimum invocations of the worker. A worker that ends a call may go on with its caller.
    """

    example: str
    id: str
    workflow: str
    arguments: dict[str, Any]
    result: Any
    says: list[str]
    workers: int


CASES = {
    "hello_world": Case(
        *("hello_world", "hello-world-example", "foo", {"greetee": "World"}),
        result="Hello World from foo! Hello World from bar! Hello World from baz!",
        says=["running foo", "running bar", "running baz"],
        workers=1,
    ),
    "chat": Case(
        *("chat", "visit-1", "visit", {"questions": ["Is it open?", "Until late?"], "delay": PAUSE}),
        result=["Is it open? Of course.", "Until late? Of course."],
        says=["answering: Is it open?", "answering: Until late?"],
        workers=3,
    ),
    "saga": Case(
        *("saga", "trip-lisbon", "book_trip", {"trip": "lisbon", "secs_between": PAUSE}),
        result={
            "status": "cancelled",
            "booked": ["flight-lisbon", "hotel-lisbon"],
            "cancelled": ["hotel-lisbon", "flight-lisbon"],
        },
        says=[
            *("booking a flight for lisbon", "booking a hotel for lisbon", "booking a car for lisbon"),
            *("cancelling hotel-lisbon", "cancelling flight-lisbon"),
        ],
        workers=5,
    ),
    "saga that succeeds": Case(
        *("saga", "trip-porto", "book_trip", {"trip": "porto", "car_available": True, "secs_between": PAUSE}),
        result={"status": "booked", "booked": ["flight-porto", "hotel-porto", "car-porto"], "cancelled": []},
        says=["booking a flight for porto", "booking a hotel for porto", "booking a car for porto"],
        workers=3,
    ),
    "fan_out_fan_in": Case(
        *("fan_out_fan_in", "summary-1", "summarize"),
        {"texts": ["the quick brown fox", "jumps over", "the lazy dog"]},
        result={"words": 9, "longest": ["quick", "jumps", "lazy"]},
        says=[],
        workers=4,
    ),
    "recursive_factorial": Case(
        *("recursive_factorial", "factorial-5", "factorial", {"n": 5}),
        result=120,
        says=[f"Calculating factorial of {n}" for n in (5, 4, 3, 2, 1)],
        workers=5,
    ),
    "countdown": Case(
        *("countdown", "countdown.1", "countdown", {"count": 5, "delay": PAUSE}),
        result="Done!",
        says=[f"Countdown: {i}" for i in (5, 4, 3, 2, 1)],
        workers=6,
    ),
    "monitor": Case(
        *("monitor", "monitor-tea", "monitor", {"item": "tea", "limit": 20, "delay": PAUSE}),
        result="tea costs 18 on day 4",
        says=[f"day {day}: tea costs {30 - 3 * day}" for day in (1, 2, 3, 4)],
        workers=4,
    ),
    "parallel_work_items": Case(
        *("parallel_work_items", "work-items-1", "process_all"),
        {"items": ["apples", "bananas", "cherries"], "flaky": "bananas", "secs_between": PAUSE},
        result=["apples: done at attempt 1", "bananas: done at attempt 2", "cherries: done at attempt 1"],
        says=[],
        workers=2,
    ),
    "encryption": Case(
        *("encryption", "payment-order-7", "pay"),
        {"order": {"id": "order-7", "card": CARD, "cents": 1999}, "crash": True, "secs_between": PAUSE},
        result={"order": "order-7", "steps": ["validated", "cleared", "charged", "receipt_sent"]},
        says=[
            *("validating order-7", "clearing order-7"),
            *(f"charging the card that ends in 5556, attempt {attempt}" for attempt in (1, 2)),
            "sending the receipt of order-7",
        ],
        workers=2,
    ),
    "schedule": Case(
        *("schedule", "daily_report.now", "generate_report", {"user_id": 123}),
        result="3 orders",
        says=["Report for user 123: 3 orders"],
        workers=1,
    ),
    "web_server": Case(
        *("web_server", "webserver-foo", "foo", {}),
        result="hello world!",
        says=["running foo", "running bar", "running baz"],
        workers=1,
    ),
}


def documented(example: str) -> tuple[list[str], str]:
    """Return the command of the README of an example, and its output there."""
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    (session,) = (part.partition("```")[0] for part in readme.split("```console\n")[1:])
    command, _, output = session.partition("\n")
    prompt, *arguments = shlex.split(command)
    assert prompt == "$"
    return arguments, output


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def strings_of(item: Any) -> Iterator[str]:
    """Yield each text in an item of the table."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict | list):
        for part in item.values() if isinstance(item, dict) else item:
            yield from strings_of(part)


def text_of(data: str) -> str:
    """Return a payload without base64, and without decryption."""
    try:
        return base64.b64decode(data, validate=True).decode(errors="replace")
    except ValueError:
        return data


def outcome(stack: OfflineStack, case: Case) -> Any:
    # The caller of a workflow with encrypted payloads has the key too.
    encryptor = getattr(load(EXAMPLES / case.example / "app.py"), "encryptor", None)
    client = stack.client(group="client", encryptor=encryptor)
    try:
        handle = client.options(target="worker").begin_rpc(case.id, case.workflow, **case.arguments)
        stack.run_until_complete(case.id)
        return handle.result(0)
    finally:
        client.stop()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def deployed() -> Iterator[OfflineStack]:
    with OfflineStack() as stack:
        yield stack


@pytest.fixture
def stack(case: Case, deployed: OfflineStack) -> OfflineStack:
    """Empty stack with the example as its worker, whose functions are cold."""
    deployed.redeploy("WorkerFunction", EXAMPLES / case.example / "app.py")
    deployed.clear()
    deployed.processes.forget_all()
    return deployed


each_case = pytest.mark.parametrize("case", CASES, indirect=True)


def test_examples_are_tested_and_listed() -> None:
    examples = {path.parent.name for path in EXAMPLES.glob("*/README.md")}

    assert {case.example for case in CASES.values()} == {path.parent.name for path in EXAMPLES.glob("*/app.py")}
    assert WITH_SERVER | {case.example for case in CASES.values()} == examples
    listed = re.findall(r"^\| \[(\w+)\]\(\1/\) \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(examples)


@pytest.mark.parametrize("example", sorted({case.example for case in CASES.values()}))
def test_example_command_prints_the_output_of_its_readme(example: str) -> None:
    (program, *arguments), output = documented(example)
    assert (program, arguments[0]) == ("python", f"examples/{example}/app.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RESONATE_"))}

    completed = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (completed.returncode, completed.stdout) == (0, output)
    # Only intended failures are logged, with their tracebacks.
    logged = [line for line in completed.stderr.splitlines() if line.startswith("[")]
    assert all(re.match(r"\[.*\] \[(WARNING|ERROR)\] \[.* failed( \(retrying|$)", line) for line in logged)
    assert bool(completed.stderr) == bool(logged)


@each_case
def test_example_runs_in_memory(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESONATE_TABLE", raising=False)
    resonate = load(EXAMPLES / case.example / "app.py").resonate
    # Time is real here, so the pauses are left out.
    arguments = {name: 0.0 if name in PAUSES else value for name, value in case.arguments.items()}
    try:
        result = resonate.run(case.id, case.workflow, **arguments)
    finally:
        resonate.stop()

    assert result == case.result
    assert said(capsys) == case.says


@each_case
@pytest.mark.parametrize("forgetful", [False, True], ids=["lasting", "forgetful"])
def test_example_runs_on_the_offline_stack(
    case: Case, stack: OfflineStack, forgetful: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if forgetful:
        stack.watch = lambda _: stack.processes.forget_all()

    assert outcome(stack, case) == case.result
    assert said(capsys) == case.says
    assert stack.invocations["WorkerFunction"] >= case.workers


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.workers == 1], indirect=True)
def test_example_survives_a_kill_after_each_request(
    case: Case, stack: OfflineStack, capsys: pytest.CaptureFixture[str]
) -> None:
    for position in itertools.count():
        stack.clear()
        stack.processes.forget_all()
        fault = stack.cloud.fault = Fault(stack, "WorkerFunction", "after", position)

        assert outcome(stack, case) == case.result, fault.hit
        # Replay repeats the bodies of workflows, but not the step.
        assert said(capsys).count(case.says[-1]) == 1, fault.hit
        if fault.hit is None:
            break
    assert position >= 4, "its task is acquired, two workflows and a step are recorded"


# Single examples


@pytest.mark.parametrize("case", ["recursive_factorial"], indirect=True)
def test_example_factorial_of_6_reuses_that_of_5(
    case: Case, stack: OfflineStack, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome(stack, case)
    said(capsys)

    assert outcome(stack, case._replace(id="factorial-6", arguments={"n": 6})) == 720
    assert said(capsys) == ["Calculating factorial of 6"]


@pytest.mark.parametrize("case", ["web_server"], indirect=True)
def test_example_web_server_runs_no_step_twice(
    case: Case, stack: OfflineStack, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome(stack, case)
    said(capsys)
    stack.reset_counts()

    assert outcome(stack, case) == case.result
    assert said(capsys) == []
    assert stack.invocations["WorkerFunction"] == 0


@pytest.mark.parametrize("case", ["encryption"], indirect=True)
def test_example_encryption_stores_no_plain_text(case: Case, stack: OfflineStack) -> None:
    outcome(stack, case)

    items = stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]
    payloads = [value for item in items for value in (item.get("param"), item.get("value")) if value]
    texts = [repr(items), *(text_of(part) for part in strings_of(payloads))]
    assert len(payloads) >= 6, "the call, four steps, the retry timer's error"
    for secret in (CARD, "validated", "cleared", "charged", "receipt_sent", "BankUnreachable", "1999"):
        assert not [text for text in texts if secret in text], secret


@pytest.mark.parametrize("case", ["parallel_work_items"], indirect=True)
def test_example_work_items_are_recorded_before_a_retry(case: Case, stack: OfflineStack) -> None:
    began = stack.clock.now()
    outcome(stack, case)

    settled = [(present(stack.store.record(f"{case.id}.{n}")).settled_at or 0) - began for n in (1, 2, 3)]
    assert settled[0] == settled[2] == 0
    assert settled[1] >= PAUSE * 1000


@pytest.mark.parametrize("case", ["schedule"], indirect=True)
def test_example_schedule_makes_a_report_each_minute(
    case: Case, stack: OfflineStack, capsys: pytest.CaptureFixture[str]
) -> None:
    client = stack.client(group="client")
    stack.watch = lambda _: stack.processes.forget_all()
    begin = stack.clock.now()
    client.options(target="worker").schedule("daily_report", case.workflow, "* * * * *", **case.arguments)
    client.stop()

    stack.advance(minutes=5)

    assert said(capsys) == case.says * 5
    first = begin - begin % 60_000 + 60_000
    for n in range(5):
        occurrence = present(stack.store.record(f"daily_report.{first + n * 60_000}"))
        assert (occurrence.state, occurrence.created_at) == ("resolved", first + n * 60_000)
