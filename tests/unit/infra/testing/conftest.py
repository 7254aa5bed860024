from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws


@pytest.fixture(scope="module")
def client() -> Iterator[Callable[..., Any]]:
    """Makes clients of an account that moto plays."""
    with mock_aws():
        yield boto3.Session(region_name="us-east-1").client
