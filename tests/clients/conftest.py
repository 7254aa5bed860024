from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import official
from tests.support.environments import Surroundings


@pytest.fixture
def surroundings() -> Iterator[Callable[..., Surroundings]]:
    """Return a function that starts a development server, in memory or with a file, with options."""
    made: list[Surroundings] = []

    def make(data: Path | None = None, *options: str | Path) -> Surroundings:
        made.append(Surroundings(data, *options))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture(scope="session")
def python() -> Path:
    """Interpreter of an environment with the official SDK."""
    return official.environment()
