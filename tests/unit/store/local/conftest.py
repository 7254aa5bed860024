from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from resonate_store.local.embedded import EmbeddedStore
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from tests.support.sqlite import File, Sent


@pytest.fixture
def sent() -> Sent:
    """The messages of the fixtures `memory` and `store`."""
    return []


@pytest.fixture
def memory(clock: ManualClock, sent: Sent) -> MemoryStore:
    return MemoryStore(clock, lambda *message: sent.append(message))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: ManualClock, sent: Sent) -> Iterator[EmbeddedStore]:
    """Each of the stores in this process."""
    if request.param == "memory":
        yield request.getfixturevalue("memory")
        return
    with closing(SqliteStore(":memory:", clock, lambda *message: sent.append(message))) as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "promises.db"


@pytest.fixture
def file(path: Path, clock: ManualClock) -> Iterator[File]:
    file = File(path, clock)
    yield file
    file.store.close()
