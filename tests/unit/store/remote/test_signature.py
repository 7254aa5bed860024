"""Requests that are signed with AWS credentials."""

from __future__ import annotations

import pytest

from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet
from resonate_store.model.servers import Scope
from resonate_store.remote.signature import RequestSignature
from resonate_store.remote.store import HttpStore
from tests.support.remote import Client


def test_requests_are_signed_with_aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url = "https://abc.execute-api.eu-central-1.amazonaws.com/v1"
    store = HttpStore(url, clock=client.clock, post=client.line)
    store.apply(PromiseGet("p"))

    authorization = client.line.headers[0]["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/execute-api/aws4_request" in authorization
    assert "host" in authorization


def test_signature_without_a_region_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StoreError, match="set AWS_REGION"):
        RequestSignature(Scope("execute-api", None))


def test_signature_without_credentials_raises_an_error() -> None:
    class Session:
        def get_credentials(self) -> None:
            return None

    signature = RequestSignature(Scope("execute-api", "eu-west-1"), Session())
    with pytest.raises(StoreError, match="there are no AWS credentials in this environment"):
        signature.headers("POST", "https://example.com", {}, b"")
