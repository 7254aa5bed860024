"""Cloud of the offline stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from resonate_infra.testing.moto.cloud import Cloud
from resonate_store.model.clock import ManualClock


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud(ManualClock())
    cloud.open()
    yield cloud
    cloud.close()


@pytest.mark.usefixtures("cloud")
def test_client_is_cached_by_service_and_configuration() -> None:
    def client(service: Any = "sqs", **config: Any) -> Any:
        return boto3.client(service, config=Config(**config) if config else None)

    assert client() is client()
    assert client(read_timeout=3) is client(read_timeout=3)
    kinds = [client(), client("dynamodb"), client(read_timeout=3), client(read_timeout=4)]
    assert len(set(map(id, kinds))) == len(kinds)
    assert client(read_timeout=3).meta.config.read_timeout == 3
    assert boto3.client("sqs", region_name="eu-west-1").meta.region_name == "eu-west-1"


def test_cloud_notes_each_call(cloud: Cloud) -> None:
    boto3.client("sqs").create_queue(QueueName="q")

    assert [(call.service, call.operation) for call in cloud.calls] == [("sqs", "CreateQueue")]
