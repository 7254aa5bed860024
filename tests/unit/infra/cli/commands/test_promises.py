"""`resonate promises`, over HTTP and over a table."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from tests.unit.infra.cli.conftest import Suspend


def test_promise_is_created_shown_and_resolved(anywhere: CommandLine, id: str) -> None:
    created = anywhere.json(
        "promises", "create", id, "--data", '{"a": [1, null]}', "--timeout", "2h", "--tag", "shop=x=y", "-t", "anyone"
    )
    assert created["param"] == {"data": {"a": [1, None]}}
    assert created["timeoutAt"] - created["createdAt"] == pytest.approx(7_200_000, abs=10_000)
    assert created["tags"] == {"shop": "x=y", "resonate:target": "poll://any@anyone"}
    assert anywhere.json("promises", "create", id) == created

    assert anywhere.json("promises", "resolve", id, "-d", '"done"', "--force")["state"] == "resolved"
    shown = anywhere.ok("promises", "get", id).fields
    assert (shown["id"], shown["state"], shown["value"]) == (id, "resolved", '"done"')
    assert shown["param"] == '{"a": [1, null]}'


def test_promise_is_rejected_with_error_or_value_or_canceled(anywhere: CommandLine, id: str) -> None:
    for name in ("a", "b", "c"):
        anywhere.ok("promises", "create", f"{id}{name}")

    assert anywhere.ok("promises", "reject", f"{id}a", "-m", "no stock").fields["error"] == "Exception: no stock"
    assert anywhere.ok("promises", "reject", f"{id}b", "-d", "[1]").fields["error"] == "[1]"
    assert anywhere.ok("promises", "cancel", f"{id}c").fields["state"] == "rejected_canceled"
    assert anywhere.json("promises", "get", f"{id}a")["value"]["data"]["message"] == "no stock"


def test_settled_promise_keeps_its_value(resonate: CommandLine, id: str) -> None:
    resonate.ok("promises", "create", id)
    resonate.ok("promises", "resolve", id, "-d", "1")

    resonate.ok("promises", "resolve", id, "-d", "1")  # The same value is accepted.
    assert resonate.fails("promises", "resolve", id, "-d", "2") == (
        1,
        f"promise {id!r} is resolved already with another value, and stays so",
    )
    assert resonate.fails("promises", "cancel", id) == (1, f"promise {id!r} is resolved already, and stays so")


SETTLE = (("resolve", "-d", "1"), ("reject", "-m", "no"), ("cancel",))


def test_settling_a_function_by_hand_needs_force(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id)
    way = "whose code would not notice that it has ended: use `resonate executions cancel {}`, or give --force"
    for name, *options in SETTLE:
        for own, what in ((id, "execution of f"), (f"{id}.1", "call of g")):
            told = resonate.fails("promises", name, own, *options)
            assert told == (1, f"'{own}' is the {what}, {way.format(own)}")
            assert resonate.json("promises", "get", own)["state"] == "pending"

    assert resonate.json("promises", "reject", f"{id}.1", "-m", "no", "--force")["state"] == "rejected"
    assert resonate.json("promises", "cancel", id, "--force")["state"] == "rejected_canceled"
    assert resonate.json("promises", "cancel", id)["state"] == "rejected_canceled"
    assert resonate.fails("promises", "resolve", id)[1] == f"promise '{id}' is rejected_canceled already, and stays so"


def test_settling_a_step_names_its_execution(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id, error=ValueError("cannot do 1"))

    told = resonate.fails("promises", "resolve", f"{id}.1")[1]
    assert told.startswith(f"'{id}.1' is the step g, whose code")
    assert f"`resonate executions cancel {id}`" in told
    assert resonate.json("promises", "resolve", f"{id}.1~7")["state"] == "resolved"  # its pause is not a function


def test_missing_promise_is_exit_code_6(anywhere: CommandLine) -> None:
    for command in ("get", "resolve", "reject", "cancel"):
        assert anywhere.fails("promises", command, "nobody") == (6, "there is no promise 'nobody'")


def test_payloads_are_shown_decoded_or_raw(resonate: CommandLine, id: str) -> None:
    resonate.ok("promises", "create", id, "-d", '"x"')

    assert resonate.json("promises", "get", id)["param"]["data"] == "x"
    assert resonate.json("promises", "get", id, "--raw")["param"]["data"] == "Ingi"
    assert resonate.ok("promises", "get", id, "--raw").fields["param"] == '"Ingi"'


def test_promises_are_found_by_id_state_and_tags(anywhere: CommandLine, id: str) -> None:
    for n in range(5):
        anywhere.ok("promises", "create", f"{id}-{n}", "--tag", f"of={id}{n % 2}")
    anywhere.ok("promises", "resolve", f"{id}-3", "-d", "1")

    def found(*arguments: str) -> list[str]:
        return [each["id"] for each in anywhere.json("promises", "search", "--id", f"{id}-", *arguments)["promises"]]

    assert found() == [f"{id}-{n}" for n in range(5)]
    assert found("--state", "resolved") == [f"{id}-3"]
    assert found("--tag", f"of={id}0", "--state", "pending") == [f"{id}-0", f"{id}-2", f"{id}-4"]
    rows = anywhere.ok("promises", "search", "--id", f"{id}-").rows
    assert [row[:2] for row in rows][2:4] == [[f"{id}-2", "pending"], [f"{id}-3", "resolved"]]


def test_search_beyond_its_limit_has_a_cursor(resonate: CommandLine, id: str) -> None:
    for n in range(5):
        resonate.ok("promises", "create", f"{id}-{n}")
    search = ("promises", "search", "--id", f"{id}-")

    ran = resonate.ok(*search, "--limit", "2")
    assert [row[0] for row in ran.rows] == [f"{id}-0", f"{id}-1"]
    cursor = ran.err.split("--cursor ")[1].strip()
    first = resonate.json(*search, "--limit", "2")
    assert first["cursor"] == cursor
    rest = resonate.json(*search, "--cursor", cursor)
    assert [each["id"] for each in rest["promises"]] == [f"{id}-{n}" for n in (2, 3, 4)]
    assert rest["cursor"] is None
    assert len(resonate.json(*search, "--all")["promises"]) == 5


def test_search_without_result_is_exit_code_0(resonate: CommandLine, id: str) -> None:
    ran = resonate.ok("promises", "search", "--id", f"{id}-none")

    assert (ran.out, ran.err) == ("", "no promises found\n")


def test_promise_text_is_escaped_for_the_terminal(resonate: CommandLine, id: str) -> None:
    resonate.ok("promises", "create", id, "--data", '"\\u001b[2J"', "--tag", "a=\x1b[31m")

    shown = resonate.ok("promises", "get", id).out
    assert "\x1b" not in shown
    assert "a=\\x1b[31m" in shown
