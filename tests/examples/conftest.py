from collections.abc import Iterator

import pytest

from tests.clients.conftest import surroundings
from tests.support.environments import Surroundings

__all__ = ["surroundings"]


@pytest.fixture(scope="session")
def running() -> Iterator[Surroundings]:
    surroundings = Surroundings()
    yield surroundings
    surroundings.end()


@pytest.fixture
def server(running: Surroundings) -> Iterator[Surroundings]:
    """The server of all examples that ask for no options, whose ids therefore differ; without anybody at work."""
    yield running
    running.end_clients()
