"""The scripts of the corpus, over every substrate; over DynamoDB as a deployment answers them, behind its API."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from resonate_infra.conformance.runner import Runner, Send
from resonate_infra.conformance.script import Script
from resonate_infra.testing.stack import OfflineStack
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.service import Service
from tests.support.corpus import SCRIPTS
from tests.support.receiver import Server
from tests.support.services import answers_of_a_client, service_over

NIGHT = 1_735_689_600_000
"""When the deployment begins; the scripts have times of their own."""
OTHER_SEPARATOR = "The children of official clients are shown as well"
"""A client of ours asks for no such children, as a server of ours shows them."""


def named(script: Script) -> str:
    return f"{script.file}:{script.line}"


@pytest.fixture(scope="module")
def deployment() -> Iterator[OfflineStack]:
    """A deployment that may be debugged, in which somebody takes the messages to the groups of the scripts."""
    sink = Server()
    groups = dict.fromkeys(("workers", "others", "clients", "default"), sink.url)
    parameters = {"DebugRequests": "on", "Groups": json.dumps(groups)}
    with OfflineStack(parameters=parameters, clock=ManualClock(NIGHT)) as stack:
        yield stack
    sink.close()


@pytest.fixture(name="send", params=["memory", "sqlite", "deployment"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Send]:
    if request.param == "memory":
        yield service_over(MemoryStore).answer
    elif request.param == "sqlite":
        stores: list[SqliteStore] = []
        yield service_over(lambda clock: stores.append(SqliteStore(":memory:", clock)) or stores[0]).answer
        stores[0].close()
    else:
        stack: OfflineStack = request.getfixturevalue("deployment")
        chance = random.Random(request.node.name)

        def send(body: bytes) -> tuple[int, bytes]:
            response = stack.api(body)
            if chance.random() < 0.5:  # what follows comes at any time, also when another script has begun
                stack.pump()
            return response.status, response.body

        yield send


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.debug is not False], ids=named)
def test_a_substrate_answers_as_the_script_says(send: Send, script: Script) -> None:
    Runner(send).run(script)


@pytest.mark.parametrize(
    "script", [script for script in SCRIPTS if script.debug is not False and script.title != OTHER_SEPARATOR], ids=named
)
def test_store_of_a_client_answers_as_the_script_says(script: Script) -> None:
    """The scripts' requests are made by a `RemoteStore`, and its responses are what the scripts expect."""
    Runner(answers_of_a_client(MemoryStore)).run(script)


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.debug is not True], ids=named)
def test_a_server_that_has_its_own_time_answers_as_the_script_says(script: Script) -> None:
    clock = ManualClock(1_234)
    Runner(Service(MemoryStore(clock)).answer, clock=clock.now, prefix="shared-").run(script)
