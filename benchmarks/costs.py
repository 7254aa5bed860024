"""What executions cost on AWS: requests counted on the offline stack, capacity computed from the items written.

    python benchmarks/costs.py [--json]

Prints the tables of docs/costs.md. The functions run on the offline stack of template.yaml. Requests and invocations
are counted at the clients of the functions.

Write units are computed from the images on the table's stream, item by item, because moto reports no capacity.
DynamoDB's rules are: one unit for each KB, twice that in a transaction, and one more for each index entry that is put
or deleted. Every figure but the first is the difference between an execution with the thing and one without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resonate import Context, Resonate
from resonate_infra.deployed.dispatch import TIME_TO_LIVE
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.model.requests import PromiseSettle

# Dollars for a million, in us-east-1, without free tiers, as AWS published them in November 2026.
WRITE_UNITS = 0.625
READ_UNITS = 0.125
LAMBDA_REQUESTS = 0.20
SQS_REQUESTS = 0.40
SCHEDULES = 1.00
S3_PUTS = 5.00
S3_GETS = 0.40
# The price of a GB-second on arm64, and the assumed duration of one invocation at 512 MB, without its steps.
GB_SECOND = 0.0000133334
INVOCATION_SECONDS = 0.05
INVOCATION_GB = 0.5
# The prices of other services, in dollars for a million.
DURABLE_OPERATIONS = 8.00
STATE_TRANSITIONS = 25.00

INDEXES = (("wake_shard", "wake_at"), ("execution_state", "created_at"))
"""The keys of the table's indexes. The indexes contain nothing else."""

resonate = Resonate()


def step(_ctx: Context) -> str:
    return "done"


@resonate.register
def steps(ctx: Context, count: int) -> Generator[Any, Any, None]:
    for _ in range(count):
        yield ctx.run(step)


def bulk(_ctx: Context) -> str:
    return "x" * 100_000


@resonate.register
def bulky(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(bulk)


def inner(_ctx: Context) -> Generator[Any, Any, None]:
    return
    yield


@resonate.register
def nested(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(inner)


@resonate.register
def remote(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.rpc("steps", 0)


@resonate.register
def sleeping(ctx: Context, secs: float) -> Generator[Any, Any, None]:
    yield ctx.sleep(secs)


@resonate.register
def asking(ctx: Context) -> Generator[Any, Any, None]:
    yield (yield ctx.promise())


handler = resonate.handler()


class Usage(NamedTuple):
    """Resources that a thing uses: capacity units, invocations, SQS messages, Scheduler firings, requests to S3."""

    write_units: int
    read_units: int
    invocations: int
    SQS_messages: int
    schedules: int
    S3_puts: int
    S3_gets: int

    def less(self, other: Usage) -> Usage:
        """Return the difference from another usage."""
        return Usage(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def dollars(self) -> float:
        """The cost of a million, in dollars."""
        computing = INVOCATION_SECONDS * INVOCATION_GB * GB_SECOND * 1_000_000
        return (
            self.write_units * WRITE_UNITS
            + self.read_units * READ_UNITS
            + self.invocations * (LAMBDA_REQUESTS + computing)
            # A message is sent, received and deleted.
            + self.SQS_messages * 3 * SQS_REQUESTS
            + self.schedules * SCHEDULES
            + self.S3_puts * S3_PUTS
            + self.S3_gets * S3_GETS
        )


class Meter:
    """Meter of the executions on an offline stack.

    Args:
        stack: the stack. The meter takes its changes and its `watch`.
    """

    def __init__(self, stack: OfflineStack) -> None:
        self._stack = stack
        self._count = 0
        self._sweeps = 0
        self._changes: list[Mapping[str, Any]] = []
        self._take_changes = stack.cloud.take_changes
        stack.cloud.take_changes = self._take

    def usage(self, function: str, *arguments: Any) -> Usage:
        """Return the usage of one execution, from its creation until it is deleted after its retention.

        Args:
            function: the name of a workflow of this file.
            arguments: its arguments.
        """
        stack = self._stack
        stack.clear()
        stack.processes.forget_all()
        stack.watch = self._watch
        self._changes.clear()
        self._sweeps = 0
        self._count += 1
        id = f"order-{self._count:06}"
        stack.client().options(target="worker").begin_rpc(id, function, *arguments)
        stack.pump()
        if function == "asking":
            stack.store.apply(PromiseSettle(f"{id}.1", "resolved"))
        stack.run_until_complete(id)
        stack.advance(minutes=3)  # for the work of the sweep
        # A transaction has two items of up to a KB each, which cost one more unit each than outside of it.
        transactions = 2 * stack.operations()["TransactWriteItems"]
        self._expire(id)
        requests = stack.operations()
        return Usage(
            write_units=sum(map(units, self._changes)) + transactions,
            # A sweep makes two queries a shard in any case: one for halted tasks, one for what is due.
            read_units=requests["GetItem"] + requests["Query"] - self._sweeps * 2 * stack.store.shards,
            invocations=stack.invocations.total() - self._sweeps,
            SQS_messages=stack.operations("sqs")["SendMessage"],
            schedules=stack.operations("scheduler")["CreateSchedule"],
            # A request to S3 that deletes is free.
            S3_puts=stack.operations("s3")["PutObject"] + stack.operations("s3")["PutObjectTagging"],
            S3_gets=stack.operations("s3")["GetObject"],
        )

    def _expire(self, id: str) -> None:
        """Delete the retention marker, as TTL does, and check that the execution is deleted."""
        stack = self._stack
        [marker] = (image for change in self._changes if is_marker(image := change.get("NewImage", {})))
        key = {name: marker[name] for name in ("pk", "sk")}
        stack.cloud.client("dynamodb").delete_item(TableName=stack.deployment.table_name, Key=key)
        stack.pump()
        assert stack.store.record(id) is None

    def _take(self, stream_arn: str) -> list[dict[str, Any]]:
        records = self._take_changes(stream_arn)
        self._changes += [record["dynamodb"] for record in records]
        for record in records:
            if record["eventName"] == "REMOVE" and is_marker(record["dynamodb"]["OldImage"]):
                record["userIdentity"] = {"type": "Service", "principalId": TIME_TO_LIVE}
        return records

    def _watch(self, event: Event) -> None:
        self._sweeps += event.event == {"kind": "sweep"}


def is_marker(image: Mapping[str, Any]) -> bool:
    """Return whether an item is the marker that expires when the retention of an execution ends."""
    return image.get("sk", {}).get("S", "").startswith("expiry#")


def units(change: Mapping[str, Any]) -> int:
    """Return the write units of one write: those of the larger image, and those of the index entries."""
    before, after = change.get("OldImage", {}), change.get("NewImage", {})
    if is_marker(before) and not after:
        return 0  # a deletion by TTL is free
    total = -(-max(size(before), size(after)) // 1024)
    for keys in INDEXES:
        was, is_ = (tuple(json.dumps(image[key]) for key in keys if key in image) for image in (before, after))
        entries = [entry for entry in (was, is_) if len(entry) == len(keys)]
        total += len(entries) if was != is_ else 0
    return total


def size(value: Any) -> int:
    """Return the size of an item in bytes, as DynamoDB counts it: names, values, and an overhead for nested values."""
    match value:
        case {"S": str(text)}:
            return len(text.encode())
        case {"N": str(digits)}:
            return len(digits.strip("-0.")) // 2 + 2
        case {"BOOL": _} | {"NULL": _}:
            return 1
        case {"M": dict(fields)}:
            return 3 + len(fields) + size(fields)
        case {"L": list(items)}:
            return 3 + len(items) + sum(map(size, items))
        case dict():
            return sum(len(name.encode()) + size(field) for name, field in value.items())
        case _:
            raise TypeError(f"no attribute value: {value!r}")


def measured() -> dict[str, Usage]:
    """Return what each thing uses, by its name in the documentation."""
    with OfflineStack(code={"WorkerFunction": Path(__file__)}) as stack:
        meter = Meter(stack)
        empty = meter.usage("steps", 0)
        return {
            "an execution, from its start until it is deleted": empty,
            "a local step": meter.usage("steps", 11).less(meter.usage("steps", 10)),
            "a local step with a result of 100 KB": meter.usage("bulky").less(empty),
            "a nested workflow": meter.usage("nested").less(empty),
            "a remote call (`ctx.rpc`), waited for": meter.usage("remote").less(empty),
            "a sleep of up to 15 minutes": meter.usage("sleeping", 600.0).less(empty),
            "a sleep of any length": meter.usage("sleeping", 86_400.0 * 30).less(empty),
            "a promise settled from outside": meter.usage("asking").less(empty),
        }


def table(usages: Mapping[str, Usage]) -> str:
    """Return the first table of the documentation: the usage and the cost of each thing."""
    columns = ("what", *(field.replace("_", " ") for field in Usage._fields), "dollars a million")
    rows = [f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|"]
    rows += [f"| {name} | {' | '.join(map(str, usage))} | {usage.dollars:.2f} |" for name, usage in usages.items()]
    return "\n".join(rows)


def comparison(usages: Mapping[str, Usage]) -> str:
    """Return the second table: the cost of whole workflows, here and in other services."""
    execution, local, *_ = usages.values()
    nap = usages["a sleep of up to 15 minutes"]
    remote = usages["a remote call (`ctx.rpc`), waited for"]
    workflows = {
        "10 steps": (execution.dollars + 10 * local.dollars, 11),
        "10 steps and a sleep": (execution.dollars + 10 * local.dollars + nap.dollars, 12),
        "100 steps": (execution.dollars + 100 * local.dollars, 101),
        "10 remote calls": (execution.dollars + 10 * remote.dollars, 21),
    }
    rows = ["| a million workflows of | here | durable functions | Step Functions |", "|---|---|---|---|"]
    for name, (dollars, operations) in workflows.items():
        durable, transitions = operations * DURABLE_OPERATIONS, operations * STATE_TRANSITIONS
        rows.append(f"| {name} | ${dollars:.0f} | ${durable:.0f} | ${transitions:.0f} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="What executions cost on AWS.")
    parser.add_argument("--json", action="store_true", help="figures instead of tables")
    usages = measured()
    if parser.parse_args().json:
        figures = {name: {**usage._asdict(), "dollars": round(usage.dollars, 2)} for name, usage in usages.items()}
        print(json.dumps(figures, indent=2))
    else:
        print(table(usages), comparison(usages), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
