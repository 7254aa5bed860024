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
    """Server of all examples without server options. Their ids differ, and no worker runs before a test."""
    yield running
    running.end_clients()
