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

from resonate import Handle
from resonate.errors import ResonateCanceledError
from resonate.testing import MemoryStack
from resonate_infra.testing.stack import OfflineStack
from tests.support.faults import Fault
from tests.support.hypothesis_settings import some
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
    "chalice_app",
    "durable_sleep",
    "fastapi_app",
    "human_in_the_loop",
    "load_balancing",
    "token_auth",
}
"""Examples of several processes, which test_with_server.py and test_browser_worker.py test."""
IN_ANY_ORDER = {"suppliers"}
"""Examples whose calls run, and print, at the same time."""


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
    "approval that is not given": Case(
        *("approval", "approval-1", "approval", {"wish": "a new laptop", "delay": PAUSE}),
        result="not answered",
        says=[f"{mail}: a new laptop? Answer to approval-1.1" for mail in ("request", "reminder", "last reminder")],
        workers=4,
    ),
    "suppliers": Case(
        *("suppliers", "order-1", "order", {"item": "lamp", "delay": PAUSE}),
        result="fast: offer for lamp",
        says=[
            *(f"{supplier} is asked for lamp" for supplier in ("slow", "fast", "local")),
            *(f"{supplier} is not asked for lamp any more" for supplier in ("slow", "local")),
        ],
        workers=5,
    ),
    "worker_pool": Case(
        *("worker_pool", "book-1", "convert_book", {"pages": 4}),
        result={"converted": 4, "not begun": 0, "failed": []},
        says=[],
        workers=5,
    ),
    "external_job": Case(
        *("external_job", "export-orders", "export", {"table": "orders", "delay": PAUSE}),
        result="export-of-orders.csv",
        says=["start export-of-orders", *(f"export-of-orders: {percent} percent" for percent in (25, 50, 75, 100))],
        workers=5,
    ),
    "saga": Case(
        *("saga", "trip-lisbon", "book_trip", {"trip": "lisbon", "secs_between": PAUSE}),
        result="no car is left for lisbon",
        says=[
            *(f"booking a {what} for lisbon" for what in ("flight", "hotel", "car")),
            *(f"cancelling the {what} for lisbon" for what in ("car", "hotel", "flight")),
        ],
        workers=3,
    ),
    "saga that succeeds": Case(
        *("saga", "trip-porto", "book_trip", {"trip": "porto", "car_available": True, "secs_between": PAUSE}),
        result=["flight-porto", "hotel-porto", "car-porto"],
        says=[f"booking a {what} for porto" for what in ("flight", "hotel", "car")],
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
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # so that its errors keep their types
    spec.loader.exec_module(module)
    return module


def said(capsys: pytest.CaptureFixture[str], case: Case | None = None) -> list[str]:
    """Return the lines that were printed; in the order of the case, if they are the same in any order."""
    lines = capsys.readouterr().out.splitlines()
    if case is not None and case.example in IN_ANY_ORDER and sorted(lines) == sorted(case.says):
        return case.says
    return lines


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


def result_of(handle: Handle[Any]) -> Any:
    """Return the result of an execution, or the message of its error without the type."""
    try:
        return handle.result()
    except Exception as error:
        return str(error).rpartition(": ")[2]


def outcome(stack: OfflineStack, case: Case) -> Any:
    # The caller of a workflow with encrypted payloads has the key too.
    encryptor = getattr(load(EXAMPLES / case.example / "app.py"), "encryptor", None)
    client = stack.client(group="client", encryptor=encryptor)
    try:
        handle = client.options(target="worker").begin_rpc(case.id, case.workflow, **case.arguments)
        stack.run_until_complete(case.id)
        return result_of(handle)
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

    if example in IN_ANY_ORDER:
        *lines, last = completed.stdout.splitlines()
        *documented_lines, documented_last = output.splitlines()
        assert (completed.returncode, sorted(lines), last) == (0, sorted(documented_lines), documented_last)
    else:
        assert (completed.returncode, completed.stdout) == (0, output)
    # Only intended failures are logged, with their tracebacks.
    logged = [line for line in completed.stderr.splitlines() if line.startswith("[")]
    assert all(re.match(r"\[.*\] \[(WARNING|ERROR)\] \[.* failed( \(retrying|$)", line) for line in logged)
    assert bool(completed.stderr) == bool(logged)


@each_case
def test_example_runs_in_memory(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    stack = MemoryStack(load(EXAMPLES / case.example / "app.py").resonate)

    result = result_of(stack.start(case.workflow, id=case.id, **case.arguments))

    assert result == case.result
    assert said(capsys, case) == case.says


@each_case
@pytest.mark.parametrize("forgetful", some([True, False], 2), ids=lambda each: "forgetful" if each else "lasting")
def test_example_runs_on_the_offline_stack(
    case: Case, stack: OfflineStack, forgetful: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if forgetful:
        stack.watch = lambda _: stack.processes.forget_all()

    assert outcome(stack, case) == case.result
    assert said(capsys, case) == case.says
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


def in_memory(example: str) -> tuple[ModuleType, MemoryStack]:
    module = load(EXAMPLES / example / "app.py")
    return module, MemoryStack(module.resonate)


def lasted_s(stack: MemoryStack, id: str) -> float:
    record = present(stack.store.record(id))
    return (present(record.settled_at) - record.created_at) / 1000


def test_example_approval_stops_its_reminders_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    _, stack = in_memory("approval")
    asking = stack.start("approval", "a new laptop", 86_400.0, id="a")
    stack.advance(days=1, hours=1)
    assert asking.published("mails") == 2

    stack.resolve("a.1", "approved")

    assert asking.result() == "approved"
    stack.advance(days=30)
    assert [line.partition(":")[0] for line in said(capsys)] == ["request", "reminder"]
    assert lasted_s(stack, "a") == 25 * 3600


def test_example_approval_without_answer_refuses_a_late_one() -> None:
    _, stack = in_memory("approval")
    assert stack.run("approval", "a new laptop", 86_400.0, id="a") == "not answered"

    assert present(stack.store.record("a.1")).state == "rejected_canceled"


def test_example_suppliers_that_cannot_be_asked_make_no_offer() -> None:
    _, stack = in_memory("suppliers")
    stack.crash(before="send_request", times=3)

    assert stack.run("order", "lamp", 1.0, id="o") == "no offer"
    assert lasted_s(stack, "o") == 10


def test_example_worker_pool_tolerates_three_blank_pages() -> None:
    _, stack = in_memory("worker_pool")

    assert stack.run("convert_book", 300, id="b") == {
        "converted": 297,
        "not begun": 0,
        "failed": [f"page {page} is blank" for page in (100, 200, 300)],
    }


def test_example_worker_pool_ends_early_after_seven_failures() -> None:
    module, stack = in_memory("worker_pool")
    stack.fail("convert", error=module.BlankPage, times=7)

    result = stack.run("convert_book", 300, id="b")

    assert len(result["failed"]) == 7
    assert result["converted"] < 20
    assert result["not begun"] == 300 - 7 - result["converted"]


def test_example_external_job_is_stopped_if_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    _, stack = in_memory("external_job")
    export = stack.start("export", "orders", 600.0, id="e")
    stack.advance(hours=1)
    assert export.published("percent") == 50

    assert export.cancel("not needed") == "accepted"

    with pytest.raises(ResonateCanceledError):
        export.result()
    assert said(capsys)[-1] == "stop export-of-orders"
    assert not [record.id for record in stack.store.records() if record.pending]


def test_example_external_job_asks_once_an_hour_at_least() -> None:
    _, stack = in_memory("external_job")

    assert stack.run("export", "orders", 3000.0, id="e") == "export-of-orders.csv"
    assert lasted_s(stack, "e") == 3000 + 3 * 3600


def test_example_saga_undoes_its_bookings_if_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    _, stack = in_memory("saga")
    trip = stack.start("book_trip", "rome", True, 3600.0, id="t")
    stack.advance(hours=1, minutes=1)

    trip.cancel("no passport")

    with pytest.raises(ResonateCanceledError):
        trip.result()
    assert said(capsys)[2:] == ["cancelling the hotel for rome", "cancelling the flight for rome"]
