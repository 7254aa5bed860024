"""The scripts of the corpus, over every substrate; over DynamoDB as a deployment answers them, behind its API.

`RESONATE_SCRIPT=tasks.yaml:26` runs the script at this line only. Part of a title selects scripts as well.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest

from resonate_infra.conformance.runner import Runner
from resonate_infra.conformance.script import Script
from resonate_infra.testing.stack import OfflineStack
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.service import Service
from tests.support.corpus import SCRIPTS
from tests.support.hypothesis_settings import some
from tests.support.receiver import Server
from tests.support.services import answers_of_a_client, service_over

NIGHT = 1_735_689_600_000
"""When the deployment begins; the scripts have times of their own."""
OTHER_SEPARATOR = "The children of official clients are shown as well"
"""A client of ours asks for no such children, as a server of ours shows them."""


def name_of(script: Script) -> str:
    return f"{script.file}:{script.line}: {script.title}"


SELECTED = [script for script in SCRIPTS if os.environ.get("RESONATE_SCRIPT", "") in name_of(script)]


@contextmanager
def memory(_: pytest.FixtureRequest) -> Generator[Runner]:
    yield Runner(service_over(MemoryStore).answer)


@contextmanager
def sqlite(_: pytest.FixtureRequest) -> Generator[Runner]:
    stores: list[SqliteStore] = []
    service = service_over(lambda clock: stores.append(SqliteStore(":memory:", clock)) or stores[0])
    with closing(stores[0]):
        yield Runner(service.answer)


@contextmanager
def deployment(request: pytest.FixtureRequest) -> Generator[Runner]:
    stack: OfflineStack = request.getfixturevalue("stack")
    chance: random.Random = request.getfixturevalue("chance")

    def send(body: bytes) -> tuple[int, bytes]:
        response = stack.api(body)
        if chance.random() < 0.5:  # Messages arrive at any time, also when another script has begun.
            stack.pump()
        return response.status, response.body

    yield Runner(send)


@contextmanager
def client(_: pytest.FixtureRequest) -> Generator[Runner]:
    """The requests are made by a `RemoteStore`, and its responses are what the scripts expect."""
    yield Runner(answers_of_a_client(MemoryStore))


@contextmanager
def own_time(_: pytest.FixtureRequest) -> Generator[Runner]:
    """A server that has its own time, and no debug requests."""
    clock = ManualClock(1_234)
    yield Runner(Service(MemoryStore(clock)).answer, clock=clock.now, prefix="shared-")


@pytest.fixture(scope="module")
def stack() -> Iterator[OfflineStack]:
    """A deployment with debug requests, and a receiver of the messages to the groups of the scripts."""
    sink = Server()
    groups = dict.fromkeys(("workers", "others", "clients", "default"), sink.url)
    parameters = {"DebugRequests": "on", "Groups": json.dumps(groups)}
    with OfflineStack(parameters=parameters, clock=ManualClock(NIGHT)) as stack:
        yield stack
    sink.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.node.name)


@pytest.mark.parametrize("file", sorted({script.file for script in SELECTED}))
@pytest.mark.parametrize("over", [memory, sqlite, deployment, client, own_time], ids=lambda over: over.__name__)
def test_corpus_script_passes(
    over: Callable[[pytest.FixtureRequest], AbstractContextManager[Runner]],
    file: str,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
) -> None:
    scripts = [script for script in SELECTED if script.file == file]
    # A request of the deployment takes twenty times as long as one in memory.
    for script in some(scripts, 3) if over is deployment and len(SELECTED) == len(SCRIPTS) else scripts:
        if over is client and script.title == OTHER_SEPARATOR:
            continue
        with over(request) as runner:
            if runner.runs(script):
                with subtests.test(name_of(script)):
                    runner.run(script)
