"""Month of a deployment: executions spread over 30 days, each kept for a day, and a check that nothing is left.

    python benchmarks/month.py [--check] [--executions N]

Runs on the offline stack, whose clock is moved. Items expire as in DynamoDB: the service removes the marker of a
settled root, and the stream's consumer deletes the execution.

Of ten executions, one sleeps for hours, one calls another worker, and one has results that are too large for the table.
A schedule starts one execution a day. One execution that would sleep for two months is cancelled, and another one times
out.

Prints the time it took, the highest number of items (those of a day's executions, not of a month's), and what is left.
With `--check` the exit code is 1 in these cases:

- an execution did not end as it should
- the table had too many items at one time
- a record, an object, a schedule or a message is left

A thousand executions take two or three minutes, nearly all of it in moto. So the test suite simulates its month with
fewer executions (`tests/deployment/test_month.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

from resonate import Context, Resonate
from resonate_infra.testing.stack import OfflineStack
from resonate_infra.testing.template.buckets import keys_in
from resonate_store.model.requests import PromiseGet
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleDelete
from resonate_store.model.tags import TARGET

DAYS = 30
LARGE = 50_000
MOST_ITEMS = 0.3
"""The highest number of items in the table at one time, for each execution of the month."""

resonate = Resonate()
Workflow = Generator[Any, Any, int]


def step(_ctx: Context, size: int) -> str:
    return "x" * size


@resonate.register
def plain(ctx: Context) -> Workflow:
    total = 0
    for size in (1, 2):
        total += len((yield ctx.run(step, size)))
    return total


@resonate.register
def sleeping(ctx: Context) -> Workflow:
    yield ctx.sleep(6 * 3600)
    return 3


@resonate.register
def hibernating(ctx: Context) -> Workflow:
    yield ctx.sleep(60 * 86_400)
    return 3


@resonate.register
def remote(ctx: Context) -> Workflow:
    return (yield ctx.rpc("plain"))


@resonate.register
def large(ctx: Context) -> Workflow:
    text = yield ctx.run(step, LARGE)
    return len(text)


handler = resonate.handler()

KINDS = ("plain", "plain", "sleeping", "plain", "plain", "remote", "plain", "plain", "large", "plain")
RESULTS = {"plain": 3, "sleeping": 3, "remote": 3, "large": LARGE}


class Month(NamedTuple):
    """Result of a simulated month.

    Attributes:
        completed: the number of executions with the right outcome, without those of the schedule.
        most_items: the highest number of items in the table, of all times it was checked.
        most_schedules: the highest number of EventBridge schedules.
        left: the items, objects, schedules and messages that are left in the end, by their kind.
    """

    completed: int
    most_items: int
    most_schedules: int
    left: dict[str, list[str]]


def simulate(stack: OfflineStack, executions: int) -> Month:
    """Simulate a month with so many executions, on a stack whose worker is this file."""
    stack.expires = True
    client = stack.client(group="client")
    call = client.options(target="worker")
    schedule = ScheduleCreate(
        "nightly",
        "30 3 * * *",
        "{{.id}}-{{.timestamp}}",
        3_600_000,
        promise_param=_param_of_plain(stack, client),
        promise_tags={TARGET: "poll://any@worker"},
    )
    assert stack.store.apply(schedule).ok
    pause = DAYS * 86_400 / executions
    looks = math.ceil(pause / 14_400)  # every four hours: executions sleep for six, and expire after a day
    running: dict[str, str] = {}
    completed = most_items = most_schedules = 0
    call.begin_rpc("unwanted", "hibernating")
    call.options(timeout=3600).begin_rpc("late", "hibernating")
    stack.advance(minutes=1)
    stack.cancel("unwanted")
    for number in range(executions):
        kind = KINDS[number % len(KINDS)]
        call.begin_rpc(f"e{number}", kind)
        running[f"e{number}"] = kind
        for _ in range(looks):
            stack.advance(seconds=pause / looks)
            completed += _harvest(stack, client, running)
            most_items = max(most_items, len(_items(stack)))
            most_schedules = max(most_schedules, len(_schedules(stack)))
    assert stack.store.apply(ScheduleDelete("nightly")).ok
    stack.advance(days=1)
    completed += _harvest(stack, client, running)
    stack.advance(days=2)
    client.stop()
    return Month(completed, most_items, most_schedules, _left(stack))


def _param_of_plain(stack: OfflineStack, client: Resonate) -> Any:
    """Return the param of a call of `plain`, as a client writes it."""
    client.options(target="worker").begin_rpc("example", "plain")
    stack.advance(minutes=1)
    promise = stack.store.apply(PromiseGet("example")).promise
    assert promise is not None
    return promise.param


def _harvest(stack: OfflineStack, client: Resonate, running: dict[str, str]) -> int:
    """Remove the executions that have ended from `running`, and return how many have the right result."""
    ended = [id for id in running if (record := stack.store.record(id)) is not None and not record.pending]
    return sum(client.get(id).result(0) == RESULTS[running.pop(id)] for id in ended)


def _items(stack: OfflineStack) -> list[dict[str, Any]]:
    return stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]


def _schedules(stack: OfflineStack) -> list[str]:
    pages = stack.cloud.client("scheduler").get_paginator("list_schedules")
    group = stack.deployment.schedule_group
    found = [each["Name"] for page in pages.paginate(GroupName=group) for each in page["Schedules"]]
    kept = {schedule.name for schedule in stack.deployment.schedules}
    return [name for name in found if name not in kept]


def _left(stack: OfflineStack) -> dict[str, list[str]]:
    sqs = stack.cloud.client("sqs")
    messages: list[str] = []
    for name, queue in stack.deployment.queues.items():
        counts = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
        messages += [name] * sum(int(count) for key, count in counts.items() if key.startswith("ApproximateNumber"))
    return {
        "items": [item["sk"]["S"] for item in _items(stack)],
        "objects": keys_in(stack.cloud.client, stack.deployment.bucket),
        "schedules": _schedules(stack),
        "messages": messages,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A month of executions, and what is left of it.")
    parser.add_argument("--check", action="store_true", help="fail when something is left, or was too much meanwhile")
    parser.add_argument("--executions", type=int, default=1000)
    arguments = parser.parse_args()
    executions: int = arguments.executions
    began = time.process_time()
    with OfflineStack(code={"WorkerFunction": Path(__file__)}, parameters={"RetentionDays": 1}) as stack:
        month = simulate(stack, executions)
        calls = len(stack.calls)
    figures = {
        "executions": executions,
        "days": DAYS,
        "completed": month.completed,
        "most_items": month.most_items,
        "most_schedules": month.most_schedules,
        "left": {what: len(found) for what, found in month.left.items()},
        "processor_seconds": round(time.process_time() - began),
        "calls": calls,
        "limits": {"most_items": round(executions * MOST_ITEMS)},
    }
    print(json.dumps(figures, indent=2))
    good = month.completed == executions and month.most_items < executions * MOST_ITEMS and not any(month.left.values())
    return 1 if arguments.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
