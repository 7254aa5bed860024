"""Sessions that reuse their clients."""

from __future__ import annotations

from typing import Any

from botocore.config import Config

from resonate_infra.testing.moto.sessions import ReusingSession


def test_client_is_cached_by_service_and_configuration() -> None:
    session = ReusingSession("us-east-1")

    def client(service: Any = "sqs", **config: Any) -> Any:
        return session.client(service, config=Config(**config) if config else None)

    assert client() is client()
    assert client(read_timeout=3) is client(read_timeout=3)
    kinds = [client(), client("dynamodb"), client(read_timeout=3), client(read_timeout=4)]
    assert len(set(map(id, kinds))) == len(kinds)
    assert client(read_timeout=3).meta.config.read_timeout == 3
    assert session.client("sqs", region_name="eu-west-1").meta.region_name == "eu-west-1"
    assert ReusingSession("us-east-1").client("sqs") is not client()
