"""The scripts of the corpus, over every substrate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resonate_infra.conformance.reading import corpus, load
from resonate_infra.conformance.runner import Runner
from resonate_infra.conformance.script import Script
from resonate_store.clock import ManualClock
from resonate_store.memory import MemoryStore
from resonate_store.protocol.service import Service
from resonate_store.sqlite import SqliteStore
from tests.conformance.servers import OwnedTable, service_over
from tests.store.dynamo_fixture import dynamo

__all__ = ["dynamo"]

SCRIPTS = [script for path in corpus() for script in load(path)]


def named(script: Script) -> str:
    return f"{script.file}:{script.line}"


@pytest.fixture(name="server", params=["memory", "sqlite", "dynamo"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Service]:
    if request.param == "memory":
        yield service_over(MemoryStore)
    elif request.param == "sqlite":
        stores: list[SqliteStore] = []
        yield service_over(lambda clock: stores.append(SqliteStore(":memory:", clock)) or stores[0])
        stores[0].close()
    else:
        client = request.getfixturevalue("dynamo")
        tables: list[OwnedTable] = []
        yield service_over(lambda clock: tables.append(OwnedTable(client, clock)) or tables[0])
        tables[0].close()


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.debug is not False], ids=named)
def test_a_substrate_answers_as_the_script_says(server: Service, script: Script) -> None:
    Runner(server.answer).run(script)


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.debug is not True], ids=named)
def test_a_server_that_has_its_own_time_answers_as_the_script_says(script: Script) -> None:
    clock = ManualClock(1_234)
    Runner(Service(MemoryStore(clock)).answer, clock=clock.now, prefix="shared-").run(script)
