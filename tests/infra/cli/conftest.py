"""One development server for all tests of the command line, each of which takes ids of its own; and a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from resonate import Resonate
from resonate_infra.server.assembly import Options, Server
from tests.infra.cli.driving import CommandLine
from tests.store.dynamo_fixture import Table

_IDS = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with a worker in its process that runs `tests.infra.cli.workflows`."""
    worker = "worker=tests.infra.cli.workflows:handler"
    with pytest.MonkeyPatch.context() as environment:
        for name in ("RESONATE_TABLE", "RESONATE_GROUPS", "RESONATE_PUSH_TOKEN"):
            environment.delenv(name, raising=False)
        environment.setenv("RESONATE_URL", "unset")
        server = Server(Options(port=0, lambdas=(worker,)))
        running = server.running()
        running.__enter__()
        # Once it works, the server has made the environment its own, and it can be put back for other tests.
        CommandLine(RESONATE_URL=server.url).ok("invoke", "first", "--func", "double", "-a", "1", "-t", "worker", "-w")
    yield server
    running.__exit__(None, None, None)


@pytest.fixture
def resonate(server: Server) -> CommandLine:
    """The command line, with the server in its environment."""
    return CommandLine(RESONATE_URL=server.url)


@pytest.fixture
def client(server: Server) -> Iterator[Resonate]:
    """The SDK, at the same server."""
    client = Resonate.remote(host="http://localhost", store_port=server.port)
    yield client
    client.stop()


@pytest.fixture
def over_table(table: Table) -> CommandLine:
    """The command line, with a DynamoDB table in its environment; nobody works on what is there."""
    return CommandLine(RESONATE_TABLE=table.name)


@pytest.fixture
def id() -> str:
    """An id that no other test has."""
    return f"id-{next(_IDS)}"
