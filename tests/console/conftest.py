"""One browser for each module, because it occupies the event loop of the thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Served, Visitor, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Server with the executions of the shop, for tests that only read."""
    served = Served(tmp_path_factory.mktemp("shop") / "promises.db")
    with served.running():
        served.fill()
        yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Server without executions."""
    served = Served(tmp_path / "promises.db")
    with served.running():
        yield served


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a window at the address of a server."""
    made: list[Visitor] = []

    def make(url: str, **options: Any) -> Visitor:
        made.append(Visitor(browser, url, **options))
        return made[-1]

    yield make
    complaints = [each for visitor in made for each in visitor.complaints]
    for visitor in made:
        visitor.close()
    assert complaints == []
