"""Meter of executions on the offline stack: requests that it counts, and capacity that it computes.

It counts the requests of the functions, and those of the program that starts an execution or settles a promise from
outside. It does not count how this program waits for a result, and not what a sweep does in any case.

Capacity is computed, because moto reports none. DynamoDB's rules are:

- A write costs one unit for each KB of the larger image, and twice that in a transaction.
- Each index entry that is put or deleted costs one more.
- A write whose condition fails, and a check in a transaction, cost as much without the index.
- A strongly consistent read costs one unit for each 4 KB.
- The deletion of an expired item is free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.aws import exchange
from resonate_store.aws.exchange import AwsRequest, AwsResponse

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

INDEXES = (("wake_shard", "wake_at"), ("execution_state", "created_at"))
"""The keys of the table's indexes. The indexes contain nothing else."""
RETENTION_DAYS = 3
"""The template's parameter of the same name. A smaller one would end before the sweep has done its work."""


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


class Write(NamedTuple):
    """One write of one item.

    Attributes:
        at: the instant (ms).
        process: the process that wrote.
        record: what the item belongs to: the execution, its child, or the marker of its retention.
        change: what the write did.
        units: its write units, with those of the indexes.
        entries: how many index entries it put or deleted.
    """

    at: int
    process: str
    record: str
    change: str
    units: int
    entries: int

    @property
    def row(self) -> str:
        """The first cells of its row in the documentation."""
        return f"| {self.process} | {self.record}: {self.change} | {self.units} | {self.entries}"


class Run(NamedTuple):
    """What a thing uses, and the writes of an execution with it."""

    usage: Usage
    writes: list[Write]


Image = Mapping[str, Any]
"""An item in DynamoDB's format. It is empty if there is none."""

PROCESSES = {"": "client", "WorkerFunction": "worker", "TickFunction": "tick", "DispatchFunction": "dispatcher"}
"""The name of each process, by the logical id of its function."""
ELEMENTS = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}


class Meter:
    """Meter of the executions on an offline stack. Use it in the block of `metering`.

    Args:
        stack: the stack. The meter replaces its `watch`, and reads its changes first.

    Attributes:
        fault: makes calls fail, as `Cloud.fault` does.
    """

    def __init__(self, stack: OfflineStack) -> None:
        self.fault: Callable[[Moment, CountedCall], None] | None = None
        self._stack = stack
        self._count = 0
        self._sweeps = 0
        self._read_units = 0
        self._writes: list[Write] = []
        self._outside = False
        self._images: dict[str, Image] = {}
        self._changes: list[dict[str, Any]] = []
        self._take_changes = stack.cloud.take_changes
        stack.cloud.take_changes = self._taken

    @contextmanager
    def metering(self) -> Generator[None]:
        """Count the requests of the AWS clients that are created in the block."""
        transport = exchange.installed_transport()
        assert transport is not None

        def send(request: AwsRequest) -> AwsResponse:
            response = transport(request)
            if request.service == "dynamodb" and request.attempt == 1 and (self._stack.cloud.caller or self._outside):
                self._count_request(request, response)
            return response

        with exchange.installed(send):
            yield

    def run(
        self,
        function: str,
        *arguments: Any,
        then: Callable[[OfflineStack, str], object] | None = None,
        after_hours: float = 0,
    ) -> Run:
        """Run one execution, from its creation until it is deleted after its retention.

        Args:
            function: the name of a workflow of the worker.
            arguments: its arguments.
            then: what a program outside does once the execution waits. It gets the id of the execution.
            after_hours: how many hours after the start the program does that.
        """
        stack = self._stack
        stack.clear()
        stack.processes.forget_all()
        stack.watch = self._watch
        stack.cloud.fault = self.fault
        self._writes = []
        self._images.clear()
        self._changes.clear()
        self._sweeps = self._read_units = 0
        self._count += 1
        id = f"order-{self._count:06}"
        with self._counting_outside():
            stack.client().options(target="worker").begin_rpc(id, function, *arguments)
        stack.pump()
        if then is not None:
            stack.advance(hours=after_hours)
            with self._counting_outside():
                then(stack, id)
        stack.run_until_complete(id)
        stack.expires = True
        stack.advance(days=RETENTION_DAYS + 1)
        assert stack.store.record(id) is None
        usage = Usage(
            write_units=sum(write.units for write in self._writes),
            read_units=self._read_units,
            invocations=stack.invocations.total() - self._sweeps,
            SQS_messages=stack.operations("sqs")["SendMessage"],
            schedules=stack.operations("scheduler")["CreateSchedule"],
            # A request to S3 that deletes is free.
            S3_puts=stack.operations("s3")["PutObject"] + stack.operations("s3")["PutObjectTagging"],
            S3_gets=stack.operations("s3")["GetObject"],
        )
        return Run(usage, self._writes)

    @contextmanager
    def _counting_outside(self) -> Generator[None]:
        """Count the requests of this program, too."""
        self._outside = True
        try:
            yield
        finally:
            self._outside = False

    def _count_request(self, request: AwsRequest, response: AwsResponse) -> None:
        body = json.loads(request.body)
        if request.operation == "TransactWriteItems":
            elements = [next(iter(element.items())) for element in body["TransactItems"]]
        elif request.operation in ELEMENTS:
            elements = [(ELEMENTS[request.operation], body)]
        else:
            self._read_units += self._units_of_read(request.operation, body, response)
            return
        keys = [(arguments.get("Key") or arguments["Item"])["sk"]["S"] for _, arguments in elements]
        before = [self._images.get(key, {}) for key in keys]
        self._see()
        failed, in_transaction = response.status != 200, len(elements) > 1
        for key, (action, _), image in zip(keys, elements, before, strict=True):
            checks = failed or action == "ConditionCheck"
            after = image if checks else self._images.get(key, {})
            change = f"{action}, refused" if failed else "check" if checks else change_of(image, after)
            write = Write(
                at=self._stack.clock.now(),
                process=PROCESSES[self._stack.cloud.caller],
                record="marker" if key.startswith("expiry#") else "execution" if key.startswith("0#") else "child",
                change=f"{change}, in a transaction" if in_transaction else change,
                units=units(image, after, in_transaction=in_transaction),
                entries=index_entries(image, after),
            )
            self._writes.append(write)

    def _units_of_read(self, operation: str, body: Mapping[str, Any], response: AwsResponse) -> int:
        if body.get("IndexName") == "wake":
            return 0  # The sweep makes these queries in any case.
        assert operation in ("GetItem", "Query"), f"{operation} is not counted"
        assert body["ConsistentRead"], "any other read costs half"
        keys = [body["Key"]] if operation == "GetItem" else json.loads(response.body)["Items"]
        total = sum(size(self._images.get(key["sk"]["S"], {})) for key in keys)
        return max(1, -(-total // 4096))

    def _see(self) -> None:
        """Take the changes of the table, and note the present images."""
        for record in self._take_changes(self._stack.deployment.stream_arn):
            self._changes.append(record)
            self._images[record["dynamodb"]["Keys"]["sk"]["S"]] = record["dynamodb"].get("NewImage", {})

    def _taken(self, stream_arn: str) -> list[dict[str, Any]]:
        assert stream_arn == self._stack.deployment.stream_arn
        self._see()
        changes, self._changes = self._changes, []
        return changes

    def _watch(self, event: Event) -> None:
        if event.event != {"kind": "sweep"}:
            return
        self._sweeps += 1
        self._writes = [
            write._replace(process="sweep") if (write.process, write.at) == ("tick", event.at) else write
            for write in self._writes
        ]


def change_of(before: Image, after: Image) -> str:
    """Return what a write did, for the documentation."""
    if not after:
        return "delete"
    if "expire_at" in after:
        return "put"
    (was, task_before), (is_, task_after) = states_of(before), states_of(after)
    if not before:
        change = "create" if is_ == "pending" else "record"
    elif was != is_:
        change = "settle"
    elif task_before != task_after:
        change = TASK_CHANGES[task_before, task_after]
    elif before["rev"] == after["rev"]:
        return "announce"
    elif "wake_at" in before and "wake_at" not in after and not is_delivered(after):
        change = "remove the wake-up"
    else:
        change = "update"
    delivered = ", delivered" if is_delivered(after) and not is_delivered(before) else ""
    if change == "update" and delivered:
        change, delivered = "note that it is delivered", ""
    announced = ", announced" if "effects" in after else ""
    return f"{change}{delivered}{announced}"


TASK_CHANGES = {
    ("pending", "acquired"): "acquire",
    ("acquired", "suspended"): "suspend",
    ("suspended", "pending"): "resume",
    ("suspended", "acquired"): "resume and acquire",
}


def states_of(image: Image) -> tuple[str, str]:
    """Return the states of a promise and of its task. They are empty if there is none."""
    task = image.get("task", {"M": {"state": {"S": ""}}})
    return image.get("state", {"S": ""})["S"], task["M"]["state"]["S"]


def is_delivered(image: Image) -> bool:
    """Return whether a record says that all effects of its settlement were carried out."""
    return image.get("delivered", {"BOOL": False})["BOOL"]


def units(before: Image, after: Image, *, in_transaction: bool = False) -> int:
    """Return the write units of one write: those of the larger image, and those of the index entries."""
    of_item = max(1, -(-max(size(before), size(after)) // 1024))
    return of_item * (2 if in_transaction else 1) + index_entries(before, after)


def index_entries(before: Image, after: Image) -> int:
    """Return how many index entries a write puts or deletes."""
    total = 0
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
