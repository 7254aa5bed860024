"""`resonate executions`."""

from __future__ import annotations

import pytest

from resonate.payloads.codec import encode
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.requests import PromiseCreate, PromiseRecord, TaskCreate
from resonate_store.model.tags import BRANCH, FUNC, KIND, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table
from tests.unit.infra.cli.conftest import Suspend


def test_executions_are_listed_without_their_children(resonate: CommandLine, id: str) -> None:
    for n in range(2):
        resonate.ok("invoke", f"{id}-{n}", "-f", "order", "-a", "1", "-t", "worker", "--tag", f"test={id}", "--wait")
    resonate.ok("invoke", f"{id}-2", "-f", "sleeps", "-t", "worker", "--tag", f"test={id}")

    found = resonate.json("executions", "list", "--tag", f"test={id}")["executions"]
    assert [each["id"] for each in found] == [f"{id}-2", f"{id}-1", f"{id}-0"]
    rows = resonate.ok("executions", "list", "--tag", f"test={id}", "--state", "resolved").rows
    assert [row[:3] for row in rows] == [[f"{id}-{n}", "resolved", "order"] for n in (1, 0)]
    assert resonate.ok("executions", "list", "--tag", "test=none").err == "no executions found\n"


def test_longest_id_is_listed_and_drawn_without_children(resonate: CommandLine, over_table: CommandLine) -> None:
    id = "x" * 1000
    for line in (resonate, over_table):
        line.ok("promises", "create", id, "--tag", "test=longest", "--tag", "resonate:scope=global")

        found = line.json("executions", "list", "--tag", "test=longest")["executions"]
        assert [(each["id"], each["waits"]) for each in found] == [(id, None)]
        assert line.json("tree", id)["children"] == []


def test_execution_list_selects_by_state_function_id_and_age(anywhere: CommandLine, id: str) -> None:
    for n, function in enumerate(("order", "order", "ship")):
        anywhere.ok("invoke", f"{id}-{n}", "-f", function, "-t", "svcc")
    anywhere.ok("promises", "reject", f"{id}-0", "--message", "no stock", "--force")
    anywhere.ok("tasks", "halt", f"{id}-1", "--reason", "broken")

    def listed(*options: str) -> list[str]:
        found = anywhere.json("executions", "list", "--id", id, *options)["executions"]
        return [each["id"].removeprefix(f"{id}-") for each in found]

    assert [listed("--state", state) for state in ("failed", "halted", "running", "pending", "retrying")] == [
        *(["0"], ["1"], ["2"], ["2", "1"], [])
    ]
    assert listed("--func", "order", "--since", "1h") == ["1", "0"]
    assert (listed("--until", "1h"), listed("--since", "2000-01-01T00:00Z")) == ([], ["2", "1", "0"])
    rows = anywhere.ok("executions", "list", "--id", id, "--func", "order").rows
    assert [(row[1], row[-1]) for row in rows] == [("halted", "broken"), ("rejected", "Exception: no stock")]
    page = anywhere.json("executions", "list", "--id", id, "--limit", "2")
    assert [each["id"] for each in page["executions"]] == [f"{id}-2", f"{id}-1"]
    assert listed("--cursor", anywhere.json("executions", "list", "--id", id, "--limit", "2")["cursor"]) == ["0"]
    code, line = anywhere.fails("executions", "list", "--since", "yesterday")
    assert (code, "--since must be a duration before now such as 24h" in line) == (2, True)


def test_execution_is_shown_and_counted(anywhere: CommandLine, id: str) -> None:
    anywhere.ok("invoke", id, "-f", "order", "-t", "svcc")
    anywhere.ok("tasks", "halt", id, "--reason", "broken")

    shown = anywhere.ok("executions", "get", id).fields
    assert (shown["state"], shown["function"], shown["version"], shown["error"]) == ("halted", "order", "1", "broken")
    assert anywhere.json("executions", "get", id)["status"] == "halted"
    assert anywhere.fails("executions", "get", "nobody") == (6, "there is no execution 'nobody'")
    counts = anywhere.json("executions", "count", "--since", "1h")
    assert (counts["halted"] >= 1, counts["pending"] >= counts["halted"]) == (True, True)
    lines = [line.split("  ") for line in anywhere.ok("executions", "count").out.splitlines()]
    names = [line[0] or f"  {line[1]}" for line in lines]
    assert (names[0], names[-4:]) == ("pending", ["resolved", "rejected", "rejected_canceled", "rejected_timedout"])
    assert "  halted" in names[1:-4], "the states that are parts of pending are indented"


def test_execution_is_deleted_where_the_store_deletes(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "order", "-a", "1", "-t", "worker", "--wait")

    assert resonate.json("executions", "delete", id)["deleted"] >= 1
    assert resonate.json("promises", "search", "--id", id)["promises"] == []
    assert resonate.fails("executions", "delete", id) == (6, f"there is no promise {id!r}")
    resonate.ok("invoke", id, "-f", "order", "-t", "svcc")
    assert resonate.fails("delete", id)[0] == 1
    assert resonate.ok("delete", id, "--force").out == f"deleted {id} and 0 promises below it\n"


def test_retry_now_ends_the_pause_of_a_step(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id, error=ValueError("cannot do 1"))

    assert resonate.json("executions", "get", id)["status"] == "retrying"
    assert resonate.ok("executions", "retry-now", id).out == f"{id} is retried now\n"
    assert resonate.json("promises", "get", f"{id}.1~7")["state"] == "resolved"
    resonate.ok("invoke", f"{id}-0", "-f", "order", "-t", "svcc")
    code, line = resonate.fails("executions", "retry-now", f"{id}-0")
    assert (code, "waits for its next attempt" in line) == (1, True)


def test_running_execution_is_cancelled_and_ends(resonate: CommandLine, id: str) -> None:
    resonate.run("invoke", id, "-f", "sleeps", "-t", "worker", "--wait", "--wait-timeout", "0.2")

    shown = resonate.ok("executions", "cancel", id, "--reason", "changed plans").fields
    assert (shown["id"], shown["state"]) == (id, "pending")
    assert shown["cancellation"].startswith("accepted: the workflow gets an error where it waits")
    assert resonate.run("invoke", id, "-f", "sleeps", "-t", "worker", "--wait").code == 5
    ended = resonate.json("executions", "cancel", id)
    assert (ended["cancel"], ended["promise"]["state"]) == (None, "rejected_canceled")
    assert ended["promise"]["value"]["data"] == "changed plans"


def test_execution_that_has_not_begun_ends_at_once(anywhere: CommandLine, id: str) -> None:
    anywhere.ok("invoke", id, "-f", "order", "-t", "nobody")

    shown = anywhere.ok("executions", "cancel", id).fields
    assert (shown["state"], shown["cancellation"]) == ("rejected_canceled", "done: the execution has ended")


def test_execution_that_has_an_outcome_is_not_cancelled(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "double", "-a", "1", "-t", "worker", "--wait")

    assert resonate.fails("executions", "cancel", id) == (1, f"execution {id!r} is resolved already, and stays so")
    assert resonate.fails("executions", "cancel", "nobody") == (6, "there is no promise 'nobody'")
    code, line = resonate.fails("executions", "cancel", id, "--reason", "x" * 1001)
    assert (code, "at most 1000 characters" in line) == (1, True)


def test_cancelled_execution_that_still_runs_is_shown(table: Table, over_table: CommandLine, id: str) -> None:
    store, now = table.store(ManualClock(1_750_000_000_000)), 1_750_000_000_000
    lineage = {ORIGIN: id, PREFIX: id, PARENT: id}
    root = {**lineage, BRANCH: id, TARGET: "poll://any@worker", FUNC: "f"}
    store.apply(TaskCreate("p", 60_000, PromiseCreate(id, 2**52, tags=root)))
    store.apply(PromiseCreate(f"{id}.1", 2**52, tags={**lineage, BRANCH: f"{id}.1", TIMER: "true"}))
    store.apply(PromiseCancel(id, "changed plans"))
    line = over_table

    assert line.ok("tasks", "get", id).fields["cancelled"] == "changed plans"
    assert line.json("executions", "list")["executions"][0]["waits"] == "cancelled: changed plans"
    assert "  cancelled: changed plans" in line.ok("tree", id).out
    assert line.json("tree", id)["interrupted"] is None

    places = encode([[id, 1, f"{id}.1"], [f"{id}.2", 0, ""]], "the places")
    tags = {**lineage, SCOPE: "local", KIND: "cancel"}
    assert store.apply(PromiseRecord(f"{id}.0~cancel", 2**52, now, "resolved", places, tags=tags)).ok

    assert f"  cancelled: changed plans (interrupted at {id}.1, and not ended)" in line.ok("tree", id).out
    tree = line.json("tree", id)
    assert (tree["interrupted"], [each["id"] for each in tree["children"]]) == ([f"{id}.1"], [f"{id}.1"])
    again = line.ok("executions", "cancel", id).fields
    assert (again["state"], again["cancellation"].partition(",")[0]) == ("pending", "already cancelled")
    assert line.ok("executions", "cancel", id, "--force").fields["state"] == "rejected_canceled"


def test_execution_is_moved_to_another_version(anywhere: CommandLine, id: str) -> None:
    line = anywhere
    line.ok("promises", "create", id, "--target", "lambda://svc:live")
    assert "function version" not in line.ok("tasks", "get", id).fields
    assert line.ok("executions", "repin", id, "--version", "9").fields["function version"] == "svc:9"
    assert line.json("executions", "repin", id, "--version", "10")["pinned"] == "lambda://svc:10"
    assert line.ok("tasks", "get", id).fields["function version"] == "svc:10"
    assert "  pinned to svc:10  waiting for lambda://svc:10 to take it" in line.ok("tree", id).out
    line.ok("tasks", "halt", id)
    moved = line.ok("executions", "repin", id).fields
    assert (moved["state"], moved["function version"]) == ("pending", "the next one that takes it")
    assert "pinned" not in line.json("executions", "repin", id, "--unpin")

    for arguments, code, error in (
        ((f"{id}-x",), 6, "there is no task"),
        ((id, "--version", "live"), 1, "is not a version of a function"),
        ((id, "--version", "9", "--unpin"), 2, "exclude each other"),
    ):
        refused = line.run("executions", "repin", *arguments)
        assert (refused.code, error in refused.err) == (code, True), refused.err
    line.ok("promises", "resolve", id, "--force")
    assert line.run("executions", "repin", id).code == 1


def test_moved_execution_of_a_group_needs_its_function(over_table: CommandLine, id: str) -> None:
    over_table.ok("promises", "create", id, "--target", "svcc")

    code, error = over_table.fails("executions", "repin", id, "--version", "9")
    assert (code, "name it, such as --version resonate-worker:9" in error) == (2, True)
    moved = over_table.json("executions", "repin", id, "--version", "worker:9")
    assert moved["pinned"] == "lambda://worker:9"


def test_message_is_sent_shown_and_refused(anywhere: CommandLine, id: str) -> None:
    store = ("promises", "create", id, "--target", "svcc")
    anywhere.ok(*store)
    sent = anywhere.ok("executions", "send", id, "note", '{"n": 1}', "--key", "k")
    assert sent.out == f"{id} has accepted the message note\n"
    assert anywhere.json("executions", "send", id, "note", '{"n": 1}', "--key", "k")["param"]["data"] == {"n": 1}

    children = anywhere.json("tree", id)["children"]
    assert [(each["command"], each["value"]["data"], each["state"]) for each in children] == [
        ("message note", {"n": 1}, "pending")
    ]
    assert "└── .message  message note  pending  for " in anywhere.ok("tree", id).out

    for arguments, code, error in (
        ((id, "note", '{"n": 2}', "--key", "k"), 1, "choose another key"),
        ((f"{id}-x", "note", "1"), 6, "there is no execution"),
        ((id, "", "1"), 1, "is empty"),
        ((id, "note", "{"), 2, "VALUE"),
    ):
        refused = anywhere.run("executions", "send", *arguments)
        assert (refused.code, error in refused.err) == (code, True), refused.err
    anywhere.ok("promises", "resolve", id, "--force")
    late = anywhere.run("executions", "send", id, "note", "1")
    assert (late.code, "takes no more messages" in late.err) == (1, True)


def test_tree_shows_received_messages_and_published_state(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "chats", "-t", "worker")
    resonate.ok("executions", "send", id, "chat", '"hello"')
    resonate.run("invoke", id, "-f", "chats", "-t", "worker", "--wait", "--wait-timeout", "0.3")

    lines = [line.split("  ") for line in resonate.ok("tree", id).out.splitlines()]
    assert lines[0][-1].strip() == "waiting for a message: chat"
    assert [line[1] for line in lines[1:]] == ["receive chat", "publish count", "published count"]
    assert lines[1][-1].strip() == '"hello"'
    assert resonate.json("tree", id)["task"]["receives"] == ["chat"]


@pytest.mark.parametrize("repeated", [False, True])
def test_cancel_of_a_halted_execution_names_the_way_out(anywhere: CommandLine, id: str, repeated: bool) -> None:
    anywhere.ok("invoke", id, "-f", "order", "-t", "svcc")
    anywhere.ok("tasks", "halt", id, "--reason", "broken")

    if repeated:
        anywhere.ok("executions", "cancel", id, "--reason", "changed plans")
    said = anywhere.ok("executions", "cancel", id, "--reason", "changed plans").fields

    result = "already" if repeated else "accepted"
    way_out = f"nothing happens before `resonate tasks continue {id}`; --force ends it at once"
    assert (said["state"], said["cancellation"]) == ("pending", f"{result}, but its task is halted: {way_out}")
    facts = "cancelled: changed plans; halted: broken"
    assert anywhere.json("tree", id)["waits"] == facts
    assert anywhere.ok("tree", id).out.strip().endswith(facts)
    assert anywhere.ok("executions", "list", "--id", id).rows[0][-1] == facts
    assert anywhere.ok("executions", "cancel", id, "--force").fields["cancellation"].startswith("done")
