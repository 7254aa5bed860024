"""`resonate invoke`."""

from __future__ import annotations

import re
import threading

import pytest

from resonate import Resonate
from tests.support.command_line import CommandLine
from tests.support.server_api import PATIENCE

ORDER = ("--func", "order", "--arg", "30", "--kwarg", 'currency="EUR"', "--target", "worker")


def test_invoke_with_wait_shows_the_value(resonate: CommandLine, id: str) -> None:
    ran = resonate.ok("invoke", id, *ORDER, "--wait")

    assert ran.out == '[\n  "charged 30 EUR",\n  60\n]\n'
    assert all(line.startswith(f"{id}: ") for line in ran.err.splitlines())
    assert resonate.ok("invoke", id, *ORDER, "--wait", "--quiet").err == ""
    assert resonate.json("invoke", id, *ORDER, "--wait")["value"]["data"] == ["charged 30 EUR", 60]


def test_invoke_without_wait_starts_the_execution(resonate: CommandLine, id: str) -> None:
    assert resonate.ok("invoke", id, "-f", "sleeps", "-t", "worker").out == f"{id} is pending\n"
    assert resonate.json("invoke", id, "-f", "sleeps", "-t", "worker")["state"] == "pending"


def test_invocation_equals_that_of_the_sdk(resonate: CommandLine, client: Resonate, id: str) -> None:
    theirs = client.options(target="nobody", tags={"a": "b"})
    theirs.begin_rpc(f"{id}-sdk", "order", 30, currency="EUR")
    resonate.ok("invoke", f"{id}-cli", *ORDER, "--target", "nobody", "--tag", "a=b")

    sdk, cli = (resonate.json("promises", "get", f"{id}-{name}", "--raw") for name in ("sdk", "cli"))
    assert cli["param"] == sdk["param"]
    assert cli["tags"] == {name: text.replace("-sdk", "-cli") for name, text in sdk["tags"].items()}
    for each in (sdk, cli):
        assert each["timeoutAt"] - each["createdAt"] == pytest.approx(365 * 86_400_000, abs=10_000)


def test_rejected_execution_is_exit_code_3(resonate: CommandLine, id: str) -> None:
    for json in ((), ("--json",)):
        ran = resonate.run("invoke", id, "-f", "fails", "-a", '"no stock"', "-t", "worker", "--wait", "--quiet", *json)
        assert ran.code == 3
        assert ran.err == f"error: {id!r} was rejected: ValueError: no stock\n"
        assert ('"state": "rejected"' in ran.out) is bool(json)


UNRESOLVED: list[tuple[list[str], str, int, str]] = [
    ([], "-f order -t nobody --timeout 50ms", 4, "'{id}' timed out at 20"),
    (["invoke {id} -f sleeps -t worker", "promises cancel {id} --force"], "-f sleeps", 5, "'{id}' was canceled$"),
    (
        ["invoke {id} -f order -t nobody", "tasks halt {id} --reason closed"],
        "-f order",
        8,
        "'{id}' is halted: closed; `resonate tasks continue {id}` lets it go on$",
    ),
    ([], "-f sleeps -t worker --wait-timeout 0.1", 9, "'{id}' is still pending; invoking it again waits on$"),
]


def test_exit_code_of_unresolved_execution_is_its_own(
    resonate: CommandLine, id: str, subtests: pytest.Subtests
) -> None:
    for before, arguments, code, expected in UNRESOLVED:
        own = f"{id}-{code}"
        with subtests.test(expected):
            for command in before:
                resonate.ok(*command.format(id=own).split())
            ended, line = resonate.fails("invoke", own, *arguments.split(), "--wait", "--quiet")
            assert ended == code
            assert re.match(expected.format(id=own), line)


def test_invoke_shows_why_attempts_fail(resonate: CommandLine, id: str) -> None:
    ran = resonate.run("invoke", id, "-f", "no_such", "-t", "worker", "--wait", "--wait-timeout", "300ms")

    assert ran.code == 9
    [failed, *_] = [line for line in ran.err.splitlines() if "failed" in line]
    known = "it has chats, chooses, detaches, double, fails, order, retries, sleeps"
    why = rf"attempt \1 failed: function no_such not found in registry: {known}"
    assert re.match(rf"{id}: pending, version (\d), {why}", failed)


def test_invoke_shows_an_outcome_that_arrives_while_it_waits(resonate: CommandLine, client: Resonate, id: str) -> None:
    timer = threading.Timer(0.2, lambda: client.promises.resolve(id, data='"done"'))
    resonate.ok("invoke", id, "-f", "order", "-t", "nobody")
    timer.start()

    assert resonate.ok("invoke", id, "-f", "order", "--wait", "--wait-timeout", str(PATIENCE)).out == '"done"\n'
    timer.join()


def test_invoke_with_the_id_of_another_call_is_refused(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "sleeps", "-t", "worker")
    resonate.ok("promises", "create", f"{id}-bare")

    message = "exists already, and is {}: choose another id"
    assert resonate.fails("invoke", id, *ORDER) == (1, f"{id!r} " + message.format("a call of 'sleeps'"))
    assert resonate.fails("invoke", f"{id}-bare", *ORDER) == (1, f"'{id}-bare' " + message.format("no call"))


def test_invoke_with_other_arguments_shows_a_notice(resonate: CommandLine, id: str) -> None:
    message = f"{id} exists already, and was called with other arguments, which hold\n"
    assert resonate.ok("invoke", id, "-f", "double", "-a", "1", "-t", "nobody").err == ""
    assert resonate.ok("invoke", id, "-f", "double", "-a", "1", "-t", "nobody").err == ""
    assert resonate.ok("invoke", id, "-f", "double", "-a", "2", "-t", "nobody").err == message


def test_interrupted_wait_does_not_change_the_execution(
    resonate: CommandLine, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_self: object, _milliseconds: int) -> None:
        raise KeyboardInterrupt

    resonate.ok("invoke", id, "-f", "sleeps", "-t", "nobody")
    monkeypatch.setattr("resonate_store.model.clock.SystemClock.sleep", interrupted)

    message = f"interrupted; {id!r} goes on, and invoking it again waits for it"
    assert resonate.fails("invoke", id, "-f", "sleeps", "--wait", "--quiet") == (130, message)
    assert resonate.json("promises", "get", id)["state"] == "pending"


def test_invocation_over_a_table_waits_for_a_worker(over_table: CommandLine, id: str) -> None:
    assert over_table.json("invoke", id, *ORDER)["tags"]["resonate:target"] == "poll://any@worker"

    assert over_table.json("tasks", "get", id)["state"] == "pending"
