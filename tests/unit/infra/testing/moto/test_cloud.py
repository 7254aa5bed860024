"""Cloud of the offline stack."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from resonate_infra.testing.moto.cloud import Cloud
from resonate_store.model.clock import ManualClock


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud(ManualClock())
    cloud.open()
    yield cloud
    cloud.close()


def test_cloud_notes_each_call(cloud: Cloud) -> None:
    boto3.client("sqs").create_queue(QueueName="q")

    assert [(call.service, call.operation) for call in cloud.calls] == [("sqs", "CreateQueue")]
