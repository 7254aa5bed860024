"""A deployed stack whose functions run in the Lambda runtime, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.lambda_runtime.stack import RuntimeStack


@pytest.fixture(scope="module")
def deployed() -> Iterator[RuntimeStack]:
    from tests.support.lambda_runtime.stack import RuntimeStack  # tests of other processes need not load it

    with RuntimeStack() as stack:
        yield stack


@pytest.fixture
def stack(deployed: RuntimeStack) -> RuntimeStack:
    """Stack with an empty table, whose functions may be warm."""
    deployed.redeploy()
    return deployed
