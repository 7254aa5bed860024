"""The two substrates that keep executions: a SQLite file under the stack in memory, and the offline stack's table.

Each can be opened on a fixture or without one, and dumped as text. Everything else about them is `Stack`, so one
scenario runs on both.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from unittest.mock import patch

from resonate import Resonate
from resonate.encryption import AESGCMEncryptor, EncryptedStore
from resonate.errors import ResonateError
from resonate.payloads import codec
from resonate.testing import MemoryStack, Stack
from resonate.threads import Pool
from resonate.worker.resources import Resources
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate_infra.effects.transports import Pusher
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.interface import Send, Store, StoreError
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.addresses import group_of
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.requests import PromiseGet, PromiseSettle, Request
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import VERSION
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.clocks import SettableClock
from tests.support.offline_driver import Here
from tests.support.records import records_in_table
from tests.upgrade import workflows

WORKFLOWS: Final = Path(workflows.__file__)
URL: Final = "http://server"
BATCH: Final = 25
"""Items that DynamoDB takes in one request."""
TTL: Final = 60_000
"""The lease of a worker that a scenario plays itself (ms)."""
LISTENER: Final = "lambda://listener"
"""A function whose messages can be looked at on both substrates."""
RECEIVER: Final = "http://receiver.example/"
"""A server whose messages can be."""

Heard = tuple[str, str, str]
"""A message: its address, its kind, and the task or promise that it is about."""


# SQLite


class SqliteStack(MemoryStack):
    """The stack in memory over a SQLite file.

    Args:
        path: the file.
        clock: the stack's time.

    Attributes:
        heard: the messages to other addresses than those of workers.
        deaf: whether nothing can be sent to listeners.
    """

    def __init__(self, path: Path, clock: ManualClock) -> None:
        super().__init__(workflows.resonate, clock=clock)
        self.heard: list[Heard] = []
        self.deaf = False
        self.path = path
        deliver: Send = self._send  # pyright: ignore[reportPrivateUsage]

        def send(address: str, message: dict[str, Any]) -> None:
            if self.deaf and message["kind"] == "unblock":
                raise StoreError("the listener is not reached")
            if address in (LISTENER, RECEIVER):
                self.heard.append(_noted(address, message))
            deliver(address, message)

        self._memory: Any = SqliteStore(path, clock, send, synchronous="off")

    def _deliver(self, address: str, message: dict[str, Any]) -> None:
        if group_of(address) == "worker":  # a task of another worker may be encrypted, and is not looked into
            super()._deliver(address, message)

    def close(self) -> None:
        """Close the file."""
        self._memory.close()


def dump_sqlite(path: Path) -> str:
    """A closed SQLite file as SQL; `iterdump` leaves out the two numbers in the file's header."""
    with closing(sqlite3.connect(path)) as db:
        ((owner,),) = db.execute("PRAGMA application_id")
        ((version,),) = db.execute("PRAGMA user_version")
        header = [f"PRAGMA application_id = {owner};", f"PRAGMA user_version = {version};"]
        return "\n".join([*header, *db.iterdump()]) + "\n"


def load_sqlite(sql: str, path: Path) -> None:
    """Make a SQLite file of its dump."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = off")
        db.executescript(sql)


# DynamoDB


class TableStack(OfflineStack):
    """The offline stack, whose worker's code is `workflows.py`.

    Attributes:
        heard: the messages to other addresses than those of workers.
    """

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock=clock, code={"WorkerFunction": WORKFLOWS})
        self.settable = clock
        self.heard: list[Heard] = []
        self._holding = ExitStack()

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._holding.close()
        super().__exit__(*exception)

    def hold_pushes(self) -> None:
        """Leave the messages of the push queue where they are, until the stack is renewed."""
        push_queue, next_message_at = self.deployment.queues["PushQueue"].arn, self.cloud.next_message_at

        def of_others(queue_arn: str) -> int | None:
            return None if queue_arn == push_queue else next_message_at(queue_arn)

        self._holding.enter_context(patch.object(self.cloud, "next_message_at", of_others))

    def renew(self, instant: int) -> None:
        """Be as good as new, at this instant (ms)."""
        self._holding.close()
        self._holding.enter_context(patch.object(Pusher, "push_all", self._push_all))
        self.settable.set(instant)
        self.clear()
        self.processes.forget_all()
        self.heard.clear()
        # A message to the listener arrives at a function, which refuses it, and is seen on its way.
        self.cloud.functions = {**self.cloud.functions, LISTENER.removeprefix("lambda://"): "WorkerFunction"}
        self.watch = self._listen

    def _listen(self, event: Event) -> None:
        if isinstance(event.event, Mapping) and event.event.get("kind") == "unblock":
            self.heard.append(_noted(LISTENER, event.event))

    def _push_all(self, pushes: Sequence[tuple[str, dict[str, Any]]]) -> list[bool]:
        self.heard += [_noted(address, message) for address, message in pushes]
        return [True] * len(pushes)


def _noted(address: str, message: Mapping[str, Any]) -> Heard:
    about = message["data"]["task" if message["kind"] == "execute" else "promise"]
    return (address, message["kind"], about["id"])


Line = dict[str, dict[str, Any]]
"""One line of a dump: an item, an object, a queue message or a schedule."""


def dump_table(stack: TableStack) -> list[Line]:
    """The table's items, the bucket's objects, the messages of the timer queue, and the schedules of EventBridge."""
    client = stack.cloud.client
    deployment = stack.deployment
    items = client("dynamodb").get_paginator("scan").paginate(TableName=deployment.table_name).search("Items[]")
    lines: list[Line] = [{"item": item} for item in sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))]
    s3 = client("s3")
    for entry in s3.list_objects_v2(Bucket=deployment.bucket).get("Contents", []):
        place = {"Bucket": deployment.bucket, "Key": entry["Key"]}
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**place)["TagSet"]}
        body = s3.get_object(**place)["Body"].read().decode()
        lines.append({"object": {"key": entry["Key"], "body": json.loads(body), "tags": tags}})
    lines += [{"message": message} for message in _messages(stack)]
    lines += [{"schedule": schedule} for schedule in _schedules(stack)]
    return lines


def _messages(stack: TableStack) -> Iterator[dict[str, Any]]:
    """What is in the queues, and when it can be received (ms)."""
    from moto.sqs.models import sqs_backends

    deployment = stack.deployment
    for name, queue in sorted(deployment.queues.items()):
        for message in sqs_backends[deployment.account_id][deployment.region].queues[queue.name]._messages:
            at = round(max(message.delayed_until, message.visible_at))
            yield {"queue": name, "at": at, "body": json.loads(message.body)}


def _schedules(stack: TableStack) -> Iterator[dict[str, Any]]:
    """The one-time and recurring schedules, the sweep's left out."""
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    for name, expression, timezone in sorted(stack.cloud.schedules(group)):
        if expression.startswith("rate("):
            continue
        target = scheduler.get_schedule(GroupName=group, Name=name)["Target"]
        yield {
            "name": name,
            "expression": expression,
            "timezone": timezone,
            "function": stack.function(target["Arn"]).logical_id,
            "input": json.loads(target["Input"]),
        }


def load_table(lines: list[Line], stack: TableStack, *, events: bool = True) -> None:
    """Put a dump into an empty deployment.

    Args:
        lines: the dump.
        stack: the deployment.
        events: whether its messages and schedules are there too; the sweep has to do without them otherwise.
    """
    client, deployment = stack.cloud.client, stack.deployment
    items = [{"PutRequest": {"Item": line["item"]}} for line in lines if "item" in line]
    for start in range(0, len(items), BATCH):
        batch = {deployment.table_name: items[start : start + BATCH]}
        assert not client("dynamodb").batch_write_item(RequestItems=batch)["UnprocessedItems"]
    # The dispatcher received the stream records of these items before the dump.
    stack.lost = lambda _: True
    stack.pump()
    stack.lost = None
    for line in lines:
        ((kind, content),) = line.items()
        if kind == "object":
            tagging = "&".join(f"{name}={value}" for name, value in content["tags"].items())
            body = json.dumps(content["body"]).encode()
            client("s3").put_object(Bucket=deployment.bucket, Key=content["key"], Body=body, Tagging=tagging)
        elif kind == "message" and events:
            delay = max(0, -((stack.clock.now() - content["at"]) // 1000))
            url, body = deployment.queues[content["queue"]].url, json.dumps(content["body"])
            client("sqs").send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)
        elif kind == "schedule" and events:
            _schedule(stack, content)


def _schedule(stack: TableStack, content: dict[str, Any]) -> None:
    deployment = stack.deployment
    arn = deployment.functions[content["function"]].arn
    expression = content["expression"]
    if expression.startswith("at("):  # one whose time has come fires as soon as it can
        at = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)
        earliest = datetime.fromtimestamp(stack.clock.now() // 1000, UTC)
        expression = f"at({max(at, earliest):%Y-%m-%dT%H:%M:%S})"
    stack.cloud.client("scheduler").create_schedule(
        GroupName=deployment.schedule_group,
        Name=content["name"],
        ScheduleExpression=expression,
        ScheduleExpressionTimezone=content["timezone"] or "UTC",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": "arn:aws:iam::123456789012:role/any", "Input": json.dumps(content["input"])},
    )


# Both

Substrate = SqliteStack | TableStack


def ask(stack: Stack, kind: str, **data: Any) -> Any:
    """Make a request over HTTP, as a client in any language does: to the API, or to the development server's service.

    Returns:
        The data of the answer; an AssertionError if it is an error.
    """
    document = {"kind": kind, "head": {"corrId": "c1", "version": VERSION}, "data": data}
    status, body = _answer(stack)(json.dumps(document).encode())
    answer = json.loads(body)
    assert status in (200, 300), answer
    stack.pump()
    return answer["data"]


def _answer(stack: Stack) -> Callable[[bytes], tuple[int, bytes]]:
    if not isinstance(stack, OfflineStack):
        return Service(stack.store).answer

    def answer(body: bytes) -> tuple[int, bytes]:
        response = stack.api(body)
        return response.status, response.body

    return answer


def remote_store(stack: Stack) -> HttpStore:
    """The store as a worker somewhere else sees it, over HTTP."""
    answer = _answer(stack)

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        status, content = answer(body)
        return Reply(status, {}, content)

    return HttpStore(URL, clock=stack.clock, post=post)


def encrypted_store(stack: Stack) -> EncryptedStore:
    """The store as a program with a key sees it."""
    return EncryptedStore(stack.store, AESGCMEncryptor({"2026": bytes(range(32))}))


def work(stack: Substrate, store: Store, id: str, *, parallel: bool = False) -> Report:
    """Run a task by another worker than that of the stack, over this store.

    Args:
        stack: the stack of the task.
        store: the store of the worker.
        id: the execution.
        parallel: whether the workflow continues while the calls that it begins in a row are created.
    """
    task = record_of(stack, id).task
    assert task is not None, f"{id} has no task"
    program = workflows.resonate
    requests = Pool(1, "requests") if parallel else None
    resources = Resources(store, stack.clock, requests=requests)
    worker = Worker(resources, program.registry, program.dependencies, "elsewhere", "lambda://elsewhere")
    try:
        return worker.run(id, task.version, TTL)
    finally:
        resources.async_functions.stop()
        for pool in resources.stop():
            pool.shutdown()
        stack.pump()


def begin_here(stack: Stack, id: str, func: Any, *args: Any, **options: Any) -> None:
    """Begin an execution as `Resonate.run` does: its task is acquired and first worked on by the client itself."""
    with patch("resonate.threads.Pool", Here):
        client = stack.client(registry=workflows.resonate.registry, group="worker", pid="program", ttl=60)
        client.options(**options).begin_run(id, func, *args)
        client.stop()
    stack.pump()


def begin_there(stack: Stack, client: Resonate, id: str, func: str, *args: Any) -> None:
    """Begin an execution as a program does that does not wait for its result."""
    try:
        client.begin_rpc(id, func, *args)
    finally:
        client.stop()
    stack.pump()


def record_of(stack: Substrate, id: str) -> Any:
    """Return a record as it is stored."""
    record = stack.store.record(id)
    assert record is not None, f"there is no record {id}"
    return record


def records_of(stack: Substrate) -> list[Record]:
    """Return every record as it is stored."""
    return stack.store.records() if isinstance(stack, SqliteStack) else records_in_table(stack)


def promise_of(stack: Stack, id: str) -> PromiseView:
    """The promise as a reader is shown it."""
    promise = stack.store.apply(PromiseGet(id)).promise
    assert promise is not None, f"there is no promise {id}"
    return promise


def apply(stack: Stack, request: Request) -> Any:
    """Make a request, and let follow what follows."""
    response = stack.store.apply(request)
    assert response.ok, response
    stack.pump()
    return response


def outcome(stack: Stack, id: str) -> Any:
    """The value of a settled promise, or the type of its error, with the text unless that is ours."""
    try:
        return codec.outcome_of(promise_of(stack, id))
    except ResonateError as error:
        return type(error).__name__
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def settle_and_die(stack: Substrate, request: PromiseSettle) -> None:
    """Settle a promise in a process that dies before it resumes a waiter or notifies a listener.

    A SQLite file then holds a message in its outbox, and a table a record whose stream records are lost.
    """
    if isinstance(stack, SqliteStack):
        stack.deaf = True
        with suppress(StoreError):
            stack.store.apply(request)
        return
    stack.lost = lambda _: True
    assert stack.store.apply(request).ok
    stack.pump()
    stack.lost = None


def settle_alone(stack: Substrate, request: PromiseSettle) -> None:
    """Settle a promise, and lose everything that follows from it."""
    if isinstance(stack, SqliteStack):
        response, _ = stack.store.transact(request)
        assert response.ok
    else:
        settle_and_die(stack, request)
