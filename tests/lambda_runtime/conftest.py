"""A deployed stack whose functions run in the Lambda runtime, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.lambda_runtime.stack import RuntimeStack


@pytest.fixture(scope="module")
def deployed() -> Iterator[RuntimeStack]:
    with RuntimeStack() as stack:
        yield stack


@pytest.fixture
def stack(deployed: RuntimeStack) -> RuntimeStack:
    """Stack with an empty table, whose functions may be warm."""
    deployed.redeploy()
    return deployed
