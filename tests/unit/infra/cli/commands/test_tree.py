"""`resonate tree`."""

from __future__ import annotations

import re

from resonate.payloads.codec import encode_error
from resonate_infra.server.assembly import Server
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock, ambient
from resonate_store.model.execution_requests import TaskContinueAs
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    TaskCreate,
    TaskHalt,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.tags import (
    AFTER,
    BEGUN,
    BRANCH,
    ELAPSED,
    FUNC,
    KIND,
    NAME,
    ORIGIN,
    PARENT,
    PREFIX,
    SCOPE,
    TARGET,
    TIMER,
)
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table
from tests.unit.infra.cli.conftest import NEXT, Suspend


def test_tree_shows_calls_with_state_time_and_outcome(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "order", "-a", "1", "-t", "worker", "--wait")

    lines = resonate.ok("tree", id).out.splitlines()
    took = r"\d+(\.\d)?m?s"
    expected = [
        rf'{id}  execution of order  resolved  {took}  \["charged 1 USD", 2\]',
        rf'├── \.1  run charge  resolved  {took}  "charged 1 USD"',
        rf"├── \.2  a sleep  resolved  {took}  slept until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        rf"└── \.3  rpc double  resolved  {took}  2",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line.rstrip()), line
    tree = resonate.json("tree", id)
    assert (tree["command"], tree["function"], tree["task"]) == ("execution of order", "order", None)
    assert tree["durationMs"] == tree["settledAt"] - tree["createdAt"] >= 20
    assert [(each["id"], each["command"]) for each in tree["children"]] == [
        (f"{id}.1", "run charge"),
        (f"{id}.2", "a sleep"),
        (f"{id}.3", "rpc double"),
    ]
    assert resonate.json("tree", f"{id}.3")["value"]["data"] == 2


def test_tree_shows_a_suspended_task(resonate: CommandLine, id: str) -> None:
    resonate.run("invoke", id, "-f", "sleeps", "-t", "worker", "--wait", "--wait-timeout", "0.2")

    first, second = resonate.ok("tree", id).out.splitlines()
    assert f"{id}  execution of sleeps  pending (suspended, version 1)  for " in first
    assert re.search(r"└── \.1  a sleep  pending  for \S+  sleeps until 20\S+Z$", second.rstrip())
    assert resonate.json("tree", id)["task"]["state"] == "suspended"


def test_tree_shows_the_whole_reason_of_a_halt(
    server: Server, resonate: CommandLine, suspend: Suspend, id: str
) -> None:
    suspend(id)
    reason = f"{id}.1 was run charge when it first ran and is now run refund: repeat its steps, in the same order"
    server.store.apply(TaskHalt(id, reason=reason))

    assert resonate.ok("tree", id).out.splitlines()[0].endswith(f"  {reason}")


def test_tree_names_the_worker_and_end_of_a_lease(over_table: CommandLine, table: Table) -> None:
    clock = ManualClock(NEXT)
    store = DynamoStore(table.name, client=table.client, clock=clock)
    root = PromiseCreate("a", 2**52, tags={ORIGIN: "a", BRANCH: "a", TARGET: "poll://any@worker", FUNC: "f"})
    assert store.apply(TaskCreate("w-\x1b1", 190_000, root)).ok

    assert "pending (acquired by w-\\x1b1 until 2100-01-01T12:33:40Z, version 1)" in over_table.ok("tree", "a").out
    assert over_table.json("tree", "a")["task"]["expiresAt"] == NEXT + 190_000
    assert over_table.ok("tasks", "get", "a").fields["held until"] == "2100-01-01T12:33:40Z"
    assert store.apply(TaskHeartbeat("w-\x1b1", (TaskReference("a", 1),))).ok
    assert store.apply(TaskRelease("a", 1)).ok
    assert "expiresAt" not in over_table.json("tree", "a")["task"]


def test_tree_shows_when_a_sleep_ended_early(server: Server, resonate: CommandLine, id: str) -> None:
    tags = {ORIGIN: id, BRANCH: id, TIMER: "true"}
    for n, state in enumerate(("resolved", "rejected_canceled")):
        assert server.store.apply(PromiseCreate(f"{id}-{n}", NEXT, tags=tags)).ok
        assert server.store.apply(PromiseSettle(f"{id}-{n}", state)).ok

    early, canceled = (resonate.ok("tree", f"{id}-{n}").out for n in range(2))
    assert "slept until 20" in early
    assert "2100" not in early
    assert "until" not in canceled


def test_tree_shows_when_a_step_is_retried(resonate: CommandLine, id: str) -> None:
    resonate.run("invoke", id, "-f", "retries", "-t", "worker", "--wait", "--wait-timeout", "0.3")

    [step] = resonate.json("tree", id)["children"]
    assert (step["attempts"], step["children"]) == (2, [])
    assert step["retryAt"] > step["createdAt"] + 3_000_000
    assert step["waits"].startswith("attempt 1 failed: RuntimeError: not today; next at 20")
    assert f"  {step['waits']}" in resonate.ok("tree", id).out


def test_tree_counts_attempts_that_left_no_record(server: Server, resonate: CommandLine, id: str) -> None:
    lineage = {ORIGIN: id, BRANCH: id}
    step = {**lineage, PARENT: id, SCOPE: "local", "resonate:func": "f"}
    timer = PromiseRecord(f"{id}.1~100", 2**52, ambient().now(), "resolved", tags={**step, TIMER: "true"})
    for request in (PromiseCreate(id, 2**52, tags=lineage), PromiseCreate(f"{id}.1", 2**52, tags=step), timer):
        assert server.store.apply(request).ok

    assert resonate.json("tree", id)["children"][0]["attempts"] == 101
    assert resonate.ok("tree", id).out.splitlines()[1].rstrip().endswith("  attempt 101")


def test_tree_shows_the_mark_of_a_step_without_record(server: Server, resonate: CommandLine, id: str) -> None:
    """Once the step has a record, its mark is not a node."""
    step = {ORIGIN: id, BRANCH: id, PARENT: id, SCOPE: "local", "resonate:func": "pay"}
    mark = {**step, KIND: "attempt", BEGUN: "1"}
    for request in (
        PromiseCreate(id, 2**52, tags={ORIGIN: id, BRANCH: id}),
        PromiseRecord(f"{id}.1~m1", 2**52, ambient().now(), "resolved", tags=mark),
        PromiseRecord(f"{id}.2~m1", 2**52, ambient().now(), "resolved", tags=mark),
        PromiseRecord(f"{id}.2", 2**52, ambient().now(), "resolved", tags=step),
    ):
        assert server.store.apply(request).ok

    shown = {each["id"]: each["command"] for each in resonate.json("tree", id)["children"]}
    assert shown == {f"{id}.1~m1": "attempt pay", f"{id}.2": "run pay"}


def test_tree_shows_a_patch_after_the_command_before_it(server: Server, resonate: CommandLine, id: str) -> None:
    below = {ORIGIN: id, BRANCH: id, PARENT: id, SCOPE: "local"}
    step = {**below, "resonate:func": "pay"}
    marker = {**below, KIND: "patch", NAME: "taxes-2", AFTER: "1"}
    for request in (
        PromiseCreate(id, 2**52, tags={ORIGIN: id, BRANCH: id}),
        PromiseRecord(f"{id}.patch~taxes-2", 2**52, ambient().now(), "resolved", tags=marker),
        *(PromiseRecord(f"{id}.{n}", 2**52, ambient().now(), "resolved", tags=step) for n in (1, 2)),
    ):
        assert server.store.apply(request).ok

    shown = [(each["id"], each["command"]) for each in resonate.json("tree", id)["children"]]
    assert shown == [(f"{id}.1", "run pay"), (f"{id}.patch~taxes-2", "patch taxes-2"), (f"{id}.2", "run pay")]
    assert ".patch~taxes-2  patch taxes-2  resolved" in resonate.ok("tree", id).out


def test_tree_shows_the_duration_of_a_step(server: Server, resonate: CommandLine, id: str) -> None:
    tags = {ORIGIN: id, BRANCH: id, SCOPE: "local", "resonate:func": "f", ELAPSED: "61000"}
    assert server.store.apply(PromiseRecord(id, 2**52, ambient().now(), "resolved", tags=tags)).ok

    assert resonate.ok("tree", id).out.rstrip() == f"{id}  execution of f  resolved  1m 1s"
    assert resonate.json("tree", id)["durationMs"] // 1000 == 61


def test_tree_shows_a_detached_call_as_an_execution(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "detaches", "-t", "worker", "--wait")

    [link] = resonate.json("tree", id)["children"]
    assert link["command"].startswith(("execution of sleeps", "sleeps with the id"))


def test_tree_shows_the_winner_of_a_race_and_a_map(resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "-f", "chooses", "-t", "worker", "--wait")

    lines = [re.sub(r"  \d+(\.\d)?m?s", "", line).rstrip() for line in resonate.ok("tree", id).out.splitlines()]
    assert lines == [
        f"{id}  execution of chooses  resolved  [2, [2, 4]]",
        "├── .1  a sleep  rejected_canceled",
        "├── .2  rpc double  resolved  2",
        "├── .3  ctx.race  resolved  first: number 2",
        '└── .4  run map  resolved  {"values": [2, 4], "failures": [], "begun": 2}',
        "    ├── .1  rpc double  resolved  2",
        "    └── .2  rpc double  resolved  4",
    ]


def test_tree_orders_children_by_their_commands(table: Table, id: str) -> None:
    store = table.store(ManualClock(1_750_000_000_000))
    lineage = {ORIGIN: id, PREFIX: id}
    store.apply(
        PromiseCreate(
            id, 2**52, tags={**lineage, BRANCH: id, PARENT: id, TARGET: "poll://any@worker", "resonate:func": "f"}
        )
    )
    for n in (1, 2, 10, 11):
        tags = {**lineage, PARENT: id, BRANCH: id, SCOPE: "local", "resonate:func": f"step{n}"}
        store.apply(PromiseRecord(f"{id}.{n}", 2**52, 1_750_000_000_000, "resolved", tags=tags))
    store.apply(PromiseCreate(f"{id}0.1", 2**52))  # It belongs to another execution with the same prefix.

    children = CommandLine(RESONATE_TABLE=table.name).json("tree", id)["children"]
    assert [each["id"] for each in children] == [f"{id}.{n}" for n in (1, 2, 10, 11)]


def test_tree_shows_ids_of_the_official_sdks(server: Server, resonate: CommandLine, id: str) -> None:
    for name, tags in (
        (id, {TARGET: "poll://any@official"}),
        (f"{id}:0", {PARENT: id, SCOPE: "global", TIMER: "true"}),
        (f"{id}:1", {PARENT: id, SCOPE: "global"}),
        (f"{id}:1.0", {PARENT: f"{id}:1", SCOPE: "global"}),
    ):
        assert server.store.apply(PromiseCreate(name, 2**52, tags={ORIGIN: id, BRANCH: name, **tags})).ok

    tree = resonate.json("tree", id)
    assert [each["id"] for each in tree["children"]] == [f"{id}:0", f"{id}:1"]
    assert [each["id"] for each in tree["children"][1]["children"]] == [f"{id}:1.0"]


def test_tree_separates_executions_with_the_same_prefix(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id)
    suspend(f"{id}.b")
    resonate.ok("promises", "create", f"{id}.c")

    assert [each["id"] for each in resonate.json("tree", id)["children"]] == [f"{id}.c", f"{id}.1"]
    assert [each["id"] for each in resonate.json("tree", f"{id}.b")["children"]] == [f"{id}.b.1"]


def test_tree_shows_the_present_generation_only(server: Server, resonate: CommandLine, id: str) -> None:
    lineage = {ORIGIN: id, PARENT: id, PREFIX: id, BRANCH: id}
    target = {ORIGIN: id, PREFIX: id, BRANCH: id, FUNC: "watch", TARGET: "poll://any@worker"}
    local = {**lineage, FUNC: "charge", SCOPE: "local"}
    requests = [
        TaskCreate("p", 60_000, PromiseCreate(id, 2**52, tags=target)),
        *(TaskContinueAs(id, 1, generation) for generation in range(2, 13)),
        *(
            PromiseRecord(f"{id}.{command}", 2**52, 0, "resolved", tags=local)
            # Some are left of an earlier generation, and those of the next one are written ahead.
            for command in ("1", "11+1", "12+0", "12+1", "12+10", "12+2", "13+0")
        ),
        PromiseCreate(f"{id}.12+1.1", 2**52, tags={**local, PARENT: f"{id}.12+1"}),
        PromiseCreate(f"{id}.12+0~1", NEXT, encode_error(ValueError("no")), {**lineage, TIMER: "true"}),
        TaskSuspend(id, 1, (f"{id}.12+0~1",)),
    ]
    for request in requests:
        assert server.store.apply(request).ok

    shown = resonate.json("tree", id)
    assert (shown["generation"], shown["attempts"]) == (12, 2)
    assert [each["id"] for each in shown["children"]] == [f"{id}.12+{n}" for n in (1, 2, 10)]
    assert [each["id"] for each in shown["children"][0]["children"]] == [f"{id}.12+1.1"]
    first, second, *_ = resonate.ok("tree", id).out.splitlines()
    assert "  generation 12 (11 before it)  attempt 1 failed: ValueError: no; next at" in first
    assert "├── .12+1  run charge" in second
    assert server.store.apply(PromiseSettle(id, "resolved")).ok
    shown = resonate.json("tree", id)
    assert [each["id"] for each in shown["children"]] == [f"{id}.12+{n}" for n in (1, 2, 10)]
