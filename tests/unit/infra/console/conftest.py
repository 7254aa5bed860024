"""One shop for all tests that only read it, and an empty one for each test that writes."""

import pytest

from tests.support.console_demo import Shop, fill
from tests.support.console_pages import Pages


@pytest.fixture(scope="session")
def filled() -> Pages:
    """Console with the executions of the shop. Tests that write take `pages`."""
    pages = Pages()
    fill(pages.store, pages.clock)
    return pages


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def shop(pages: Pages) -> Shop:
    return pages.shop
