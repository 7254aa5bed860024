"""The deployment of `template.yaml` with every function in the real Lambda runtime.

What `OfflineStack` is to handlers that are called in this process: the resources exist behind an `Endpoint`, the
functions run under their own environment in emulators, and the test says when the stream and the queues deliver. Time
is real, so whoever waits here waits.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from resonate import Resonate
from resonate_infra.testing.endpoint import Endpoint
from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.template import template as templates
from resonate_infra.testing.template.deployment import Deployment, EventSource
from resonate_infra.testing.template.resources import create, delete
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.records import Record
from tests.support.lambda_runtime.emulator import RuntimeEmulator

ROOT = Path(__file__).parents[3]
WORKFLOWS = ROOT / "tests" / "lambda_runtime" / "workflows"
"""The code directory of a worker with the workflows of these tests."""
# What the template's LoggingConfig makes of a function's environment.
LOGGING = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
_POLL_SECONDS = 0.02
_PUMP_SECONDS = 0.05

T = TypeVar("T")


class RuntimeStack:
    """A deployed stack; open it with `with`. Functions start when they are first asked for."""

    def __init__(self) -> None:
        self.endpoint = Endpoint()
        self.deployment: Deployment
        self.store: DynamoStore
        self._template = templates.load(
            ROOT / "template.yaml",
            stack=templates.Stack("resonate"),
            parameters={"EndpointUrl": self.endpoint.url},
        )
        self._functions: dict[str, RuntimeEmulator] = {}
        self._position: str | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self.endpoint)
        try:
            self._deploy()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            delete(self.deployment, self.endpoint.client)
        finally:
            self._open.close()

    def _deploy(self) -> None:
        client = self.endpoint.client
        self.deployment = create(self._template, client)
        self.endpoint.functions = frozenset(function.name for function in self.deployment.functions.values())
        table = self.deployment.table_name
        payloads = Payloads(self.deployment.bucket, f"{table}/", client=client("s3"), width=1)
        self.store = DynamoStore(table, client=client("dynamodb"), payloads=payloads)
        self._position = None

    def redeploy(self) -> None:
        """Start over with an empty table and empty queues; functions that run stay as they are."""
        delete(self.deployment, self.endpoint.client)
        self.endpoint.take_invocations()
        self.endpoint.take_pushes()
        self._deploy()

    # Functions

    def function(self, logical_id: str) -> RuntimeEmulator:
        """The function as the template describes it."""
        if logical_id not in self._functions:
            self._functions[logical_id] = self.start(logical_id)
        return self._functions[logical_id]

    def start(
        self,
        logical_id: str,
        *,
        directory: Path | None = None,
        timeout_seconds: int | None = None,
        environment: dict[str, str] | None = None,
        interpreter: Sequence[str] = (sys.executable,),
    ) -> RuntimeEmulator:
        """Another execution environment of a function, perhaps with other code, another timeout, or more variables."""
        function = self.deployment.functions[logical_id]
        return self._open.enter_context(
            RuntimeEmulator(
                handler=function.handler,
                directory=directory or function.code_directory,
                environment={**LOGGING, **function.environment, **(environment or {})},
                function_name=function.name,
                timeout_seconds=timeout_seconds or function.timeout_seconds,
                memory_megabytes=function.memory_mb,
                interpreter=interpreter,
            )
        )

    # The client's side

    def client(self) -> Resonate:
        """A program outside of Lambda that talks to the table and has the worker do its work."""
        client = Resonate(store=self.store)
        self._open.callback(client.stop)
        return client.options(target="worker")

    def record(self, id: str) -> Record:
        """A record that exists."""
        record = self.store.record(id)
        assert record is not None, f"there is no promise {id}"
        return record

    # What AWS does between the functions

    def dispatch(self) -> list[Any]:
        """Deliver the stream to the dispatcher, to its end, and return the events that the worker was invoked with."""
        while self._deliver_changes():
            pass
        return self._take_offers()

    def _deliver_changes(self) -> bool:
        """Deliver the next records of the stream, if there are any."""
        source = self._source("stream", "DispatchFunction")
        criteria = FilterCriteria.parse(source.filters)
        records = self._take_changes(source)
        if kept := [record for record in records if criteria.keep(record)]:
            self._deliver(source, kept)
        return bool(records)

    def _take_offers(self) -> list[Any]:
        worker = self.deployment.functions["WorkerFunction"].name
        messages = self.endpoint.take_invocations()
        assert {message.address for message in messages} <= {worker}
        return [message.content for message in messages]

    def fire_timers(self, *, within: float) -> None:
        """Wait for messages of the timer queue to become visible, and deliver them."""
        source = self._source("queue", "TickFunction")
        self._deliver(source, wait_until(lambda: self._take_messages(source), within=within))

    def work(self, until: Callable[[], object], *, within: float) -> None:
        """Do all that AWS does between the functions, each in its own thread, until something is true."""
        stopped = threading.Event()
        source = self._source("queue", "TickFunction")

        def offer() -> bool:
            offers = self._take_offers()
            for each in offers:
                invocation = self.function("WorkerFunction").invoke(each)
                assert invocation.error_type is None, invocation
            return bool(offers)

        def fire() -> bool:
            if messages := self._take_messages(source):
                self._deliver(source, messages)
            return bool(messages)

        def keep(step: Callable[[], bool]) -> None:
            while not stopped.is_set():
                if not step():
                    stopped.wait(_PUMP_SECONDS)

        with ThreadPoolExecutor(max_workers=3) as threads:
            running = [threads.submit(keep, step) for step in (self._deliver_changes, offer, fire)]
            try:
                wait_until(lambda: until() or any(each.done() for each in running), within=within, pause=_PUMP_SECONDS)
            finally:
                stopped.set()
        for each in running:
            each.result()

    def _source(self, kind: str, function: str) -> EventSource:
        (source,) = (s for s in self.deployment.event_sources if (s.kind, s.function) == (kind, function))
        return source

    def _deliver(self, source: EventSource, records: list[Any]) -> None:
        """To AWS a failure is a reason to try again; to a test it is a failure."""
        invocation = self.function(source.function).invoke({"Records": records})
        assert invocation.payload == {"batchItemFailures": []}, invocation

    def _take_changes(self, source: EventSource) -> list[Any]:
        """The next records of the stream, as Lambda sends them."""
        client = self.endpoint.client("dynamodbstreams")
        if self._position is None:
            (shard,) = client.describe_stream(StreamArn=source.arn)["StreamDescription"]["Shards"]
            self._position = client.get_shard_iterator(
                StreamArn=source.arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        answer = client.get_records(ShardIterator=self._position)
        self._position = answer["NextShardIterator"]
        for record in answer["Records"]:
            images = record["dynamodb"]
            images["ApproximateCreationDateTime"] = images["ApproximateCreationDateTime"].timestamp()
            record["eventSourceARN"] = source.arn
        return answer["Records"]

    def _take_messages(self, source: EventSource) -> list[Any]:
        """The messages of a queue that are visible now, as Lambda sends them; they are deleted, delivered or not."""
        client = self.endpoint.client("sqs")
        (url,) = (queue.url for queue in self.deployment.queues.values() if queue.arn == source.arn)
        answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
        messages = answer.get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": source.arn,
                "awsRegion": self.deployment.region,
            }
            for message in messages
        ]


def wait_until(condition: Callable[[], T], *, within: float, pause: float = _POLL_SECONDS) -> T:
    """Wait for a condition, for so many seconds at most, and return what made it true."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited for {within} seconds in vain"
        time.sleep(pause)
    return value
