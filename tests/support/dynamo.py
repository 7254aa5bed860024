"""A DynamoDB of moto for tests of the DynamoDB store: a fresh table from the models, and a hand on the wire.

What moto lacks is played where every HTTP request passes: at botocore's event hooks, or in the transport of a client of
our own. Requests are counted there, and answers are lost or replaced there. moto takes no locks: it is driven by one
thread only, or through a wire, which lets one request pass at a time.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws
from moto.backends import get_backend
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber

from resonate_infra.testing.moto import shortcuts, transport
from resonate_store.aws.calls import ServiceCalls
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.dynamodb import DynamoClient, verify_checksum
from resonate_store.aws.exchange import AwsRequest, AwsResponse, Transport
from resonate_store.dynamo.items import entry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Entry, key_of
from resonate_store.model.requests import Request
from tests.support.tables import table_definition

REGION = "us-east-1"
_TABLES = itertools.count(1)

Fault = Callable[[str, Any], AWSResponse | None]
"""Sees an HTTP request - the event's name and the request - before it goes out; an answer replaces the sending."""


def lost(event_name: str, request: Any) -> AWSResponse | None:
    """DynamoDB does what it is asked, and the answer never arrives."""
    botocore_stubber(event_name, request)
    raise ConnectionClosedError(endpoint_url=request.url)


def answering(body: dict[str, Any], status: int = 200) -> Fault:
    """DynamoDB gives this answer and does nothing."""

    def fault(_event_name: str, request: Any) -> AWSResponse:
        return AWSResponse(request.url, status, HTTPHeaders(), MockRawResponse(json.dumps(body)))

    return fault


def refusing(code: str, status: int = 400, message: str = "refused", **more: Any) -> Fault:
    """DynamoDB answers with this error and does nothing."""
    return answering({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}, status)


def cancelling(*codes: str) -> Fault:
    """DynamoDB cancels a transaction for these reasons."""
    return refusing("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


def after(action: Callable[[], object], then: Fault | None = None) -> Fault:
    """Something else happens just before the request arrives, or is met with another fault."""

    def fault(event_name: str, request: Any) -> AWSResponse | None:
        action()
        return then(event_name, request) if then is not None else None

    return fault


class Wire:
    """What one client sends.

    Attributes:
        sent: the operations of all HTTP requests, in order.
        faults: what happens to the next requests, one after the other; None lets one pass.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.faults: deque[Fault | None] = deque()
        self._one = threading.RLock()

    @contextmanager
    def tapping(self, client: Any) -> Generator[Wire]:
        """Stand between a client and moto for as long as the block runs.

        botocore asks every hook, also when one before it has answered, so moto must not have one of its own.
        """
        if isinstance(client, OwnClient):
            client.send = self._transport
            yield self
            client.send = transport.send
            return
        client.meta.events.unregister("before-send", botocore_stubber)
        client.meta.events.register("before-send.dynamodb", self._send)
        try:
            yield self
        finally:
            client.meta.events.unregister("before-send.dynamodb", self._send)
            client.meta.events.register("before-send", botocore_stubber)

    def _send(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        with self._one:
            fault = self._next_fault(event_name.rpartition(".")[2])
            answer = fault(event_name, request) if fault is not None else None
            return answer if answer is not None else botocore_stubber(event_name, request)

    def _transport(self, request: AwsRequest) -> AwsResponse:
        with self._one:
            fault = self._next_fault(request.operation)
            if fault is None:
                return transport.send(request)
            name, prepared = transport.event_of(request), transport.prepared(request)
            answer = fault(name, prepared)  # It may change the request, and let it pass.
            return transport.read(answer if answer is not None else botocore_stubber(name, prepared))

    def _next_fault(self, operation: str) -> Fault | None:
        self.sent.append(operation)
        return self.faults.popleft() if self.faults else None

    def taken(self) -> list[str]:
        """The operations since the last call."""
        sent = list(self.sent)
        self.sent.clear()
        return sent


class OwnClient(DynamoClient):
    """Client of our own whose requests go to moto, or where `send` is set to."""

    def __init__(self, tries: int) -> None:
        self.send: Transport = transport.send
        limits = CallLimits(connect_timeout_s=2, read_timeout_s=3, attempts=tries)
        clock = ManualClock(1_796_000_000_000)
        calls = ServiceCalls(
            "dynamodb",
            REGION,
            f"https://dynamodb.{REGION}.amazonaws.com",
            limits,
            transport=lambda request: self.send(request),
            verify=verify_checksum,
            clock=clock,
        )
        super().__init__(calls)


Kind = Literal["own", "boto3"]
KINDS: list[Kind] = ["own", "boto3"]
USUAL_KINDS = KINDS if "RESONATE_CI" in os.environ else KINDS[:1]
"""The kinds for tests that look at what is sent, and not at how a client handles it."""
_kind: Kind = "own"


def make_client(*, tries: int = 1, kind: Kind | None = None) -> Any:
    """A client that sends each request up to `tries` times, of the kind that `dynamo` is if none is named."""
    if (kind or _kind) == "own":
        return OwnClient(tries)
    return boto3.client(
        "dynamodb",
        region_name=REGION,
        config=Config(retries={"mode": "standard", "total_max_attempts": tries}, parameter_validation=False),
    )


@functools.cache
def _tables() -> Any:
    """A client that creates and deletes tables. To make one takes longer than to create a table."""
    session = boto3.Session("test", "test", region_name=REGION)
    library: Any = session  # The type of `client` has an overload for each service.
    return library.client("dynamodb", endpoint_url=f"https://dynamodb.{REGION}.amazonaws.com")


class Table:
    """A table of its own, and stores over it.

    Args:
        client: of its stores.
        streaming: without a stream the table is cheaper, for moto keeps two copies of an item for each of its records.
    """

    def __init__(self, client: Any, *, streaming: bool = True) -> None:
        self.client = client
        self.name = f"promises-{next(_TABLES)}"
        definition = table_definition(self.name)
        if not streaming:
            definition["StreamSpecification"] = {"StreamEnabled": False}
        _tables().create_table(**definition)

    def store(self, clock: Clock, *, client: Any = None, **options: Any) -> DynamoStore:
        """A store over this table; its random numbers are all zero."""
        return DynamoStore(self.name, client=client or self.client, clock=clock, jitter=lambda: 1.0, **options)

    def delete(self) -> None:
        """Delete the table."""
        _tables().delete_table(TableName=self.name)

    def items(self) -> list[dict[str, Any]]:
        """Every item, as stored; read behind the wire, because moto is slow at answering scans."""
        table = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID][REGION].tables[self.name]
        return [item.to_json()["Attributes"] for item in table.all_items()]

    def entries(self) -> dict[tuple[str, str], Entry]:
        """Every entry, by its key."""
        return {key_of(entry): entry for entry in map(entry_of, self.items())}

    def item(self, id: str) -> dict[str, Any]:
        """The item of a promise, as stored."""
        (item,) = [item for item in self.items() if item.get("id") == {"S": id}]
        return item


@contextmanager
def dynamo_of(kind: Kind) -> Generator[Any]:
    """A DynamoDB with a client of a kind, which `make_client` then makes too."""
    global _kind
    with pytest.MonkeyPatch.context() as environment, mock_aws(), shortcuts.taken():
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        environment.delenv("AWS_ENDPOINT_URL", raising=False)
        before, _kind = _kind, kind
        yield make_client()
        _kind = before


@pytest.fixture(scope="session")
def dynamo() -> Iterator[Any]:
    """A client of a DynamoDB that lasts for the whole run. Each test has a table of its own."""
    with dynamo_of("own") as client:
        yield client


@pytest.fixture
def table(dynamo: Any) -> Table:
    return Table(dynamo)


@pytest.fixture
def wire(dynamo: Any) -> Iterator[Wire]:
    """What the tables' client sends."""
    with Wire().tapping(dynamo) as wire:
        yield wire


GET, BATCH, QUERY = "GetItem", "BatchGetItem", "Query"
PUT, UPDATE, DELETE, TRANSACT = "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"


def done(store: DynamoStore, *requests: Request) -> None:
    """Apply requests that must succeed."""
    for request in requests:
        response = store.apply(request)
        assert response.ok, response


@contextmanager
def parameters_of(client: Any, *operations: str) -> Generator[list[dict[str, Any]]]:
    """Note the parameters of each call of these operations, while the block runs."""
    noted: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patched:
        for operation in operations:
            method = re.sub("(?<!^)([A-Z])", r"_\1", operation).lower()
            patched.setattr(client, method, _noting(getattr(client, method), noted))
        yield noted


def _noting(call: Callable[..., Any], noted: list[dict[str, Any]]) -> Callable[..., Any]:
    def noting(**arguments: Any) -> Any:
        noted.append(arguments)
        return call(**arguments)

    return noting
