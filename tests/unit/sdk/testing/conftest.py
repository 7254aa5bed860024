import pytest

from resonate.testing import MemoryStack
from tests.unit.sdk.testing import programs


@pytest.fixture
def stack() -> MemoryStack:
    """A stack that serves the shop and its warehouse."""
    return MemoryStack(programs.shop, programs.warehouse)
