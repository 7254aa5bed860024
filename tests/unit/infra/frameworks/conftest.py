from __future__ import annotations

from collections.abc import Iterator

import pytest

from resonate import Resonate
from tests.unit.infra.frameworks.shop import shop


@pytest.fixture
def resonate() -> Iterator[Resonate]:
    resonate = shop()
    yield resonate
    resonate.stop()
