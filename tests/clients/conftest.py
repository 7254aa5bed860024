from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.surroundings import Surroundings


@pytest.fixture
def surroundings() -> Iterator[Callable[[Path | None], Surroundings]]:
    """Starts a development server, in memory or with a file."""
    made: list[Surroundings] = []

    def make(data: Path | None = None) -> Surroundings:
        made.append(Surroundings(data))
        return made[-1]

    yield make
    for each in made:
        each.end()
