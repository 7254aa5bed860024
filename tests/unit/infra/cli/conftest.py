"""One development server for all tests of the command line, which use different ids. A table for each test."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

import pytest

from resonate import Resonate
from resonate.payloads.codec import encode_error
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.model.requests import PromiseCreate, Request, TaskCreate, TaskSuspend
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table

_IDS = itertools.count(1)
NEXT = 4_102_489_830_000
"""2100-01-01T12:30:30Z, when the step that has failed is retried."""
FAILED = "attempt 7 failed: ValueError: cannot do 1; next at 2100-01-01T12:30:30Z"
NO_WORKER = "waiting for a worker of svcc; none is connected"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with a worker in its process that runs `tests.support.worker_code.orders`."""
    module = "tests.support.worker_code.orders"
    worker = f"worker={module}:handler"
    with pytest.MonkeyPatch.context() as environment:
        for name in ("RESONATE_TABLE", "RESONATE_GROUPS", "RESONATE_PUSH_TOKEN"):
            environment.delenv(name, raising=False)
        environment.setenv("RESONATE_URL", "unset")
        # A test before may have used the module, whose handler then calls the server of that test.
        environment.delitem(sys.modules, module, raising=False)
        server = Server(ServerOptions(port=0, lambdas=(worker,)))
        running = server.running()
        running.__enter__()
        # After the first call the worker has read the environment, which can be reset.
        first = ("invoke", "first", "--func", "double", "-a", "1", "-t", "worker", "-w", "--wait-timeout", "60")
        CommandLine(RESONATE_URL=server.url).ok(*first)
    yield server
    running.__exit__(None, None, None)


@pytest.fixture
def resonate(server: Server) -> CommandLine:
    """Command line with the server in its environment."""
    return CommandLine(RESONATE_URL=server.url)


@pytest.fixture
def client(server: Server) -> Iterator[Resonate]:
    """SDK client of the same server."""
    client = Resonate.remote(host="http://localhost", store_port=server.port)
    yield client
    client.stop()


@pytest.fixture
def over_table(table: Table) -> CommandLine:
    """Command line with a DynamoDB table in its environment. The table has no worker."""
    return CommandLine(RESONATE_TABLE=table.name)


@pytest.fixture(params=["server", "table"])
def anywhere(request: pytest.FixtureRequest) -> CommandLine:
    return request.getfixturevalue("resonate" if request.param == "server" else "over_table")


Suspend = Callable[..., None]


@pytest.fixture
def suspend(server: Server) -> Suspend:
    """Return a function that suspends an execution of `f` on a call of svcc, or on the retry of a failed step."""

    def make(id: str, *, error: Exception | None = None, tags: dict[str, str] | None = None) -> None:
        lineage = {ORIGIN: id, PREFIX: id}
        target = {**lineage, BRANCH: id, TARGET: "poll://any@worker", FUNC: "f", **(tags or {})}
        child = {**lineage, BRANCH: id, PARENT: id, FUNC: "g"}
        requests: list[Request] = [TaskCreate("p", 60_000, PromiseCreate(id, 2**52, tags=target))]
        if error is None:
            requests.append(PromiseCreate(f"{id}.1", 2**52, tags={**child, TARGET: "poll://any@svcc"}))
            awaited = f"{id}.1"
        else:
            timer = {**child, TIMER: "true"}
            requests.append(PromiseCreate(f"{id}.1", 2**52, tags={**child, SCOPE: "local"}))
            requests.append(PromiseCreate(f"{id}.1~7", NEXT, encode_error(error), timer))
            awaited = f"{id}.1~7"
        for request in (*requests, TaskSuspend(id, 1, (awaited,))):
            assert server.store.apply(request).ok

    return make


@pytest.fixture
def id() -> str:
    """Id that only this test uses."""
    return f"id-{next(_IDS)}"
