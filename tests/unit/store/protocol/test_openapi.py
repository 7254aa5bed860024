"""The document is up to date, and it is true: what the server reads and writes agrees with it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from resonate_store.model.requests import ProtocolRequest, Response
from resonate_store.protocol import openapi
from resonate_store.protocol.wire import encode_request, encode_response
from tests.support.envelopes import envelope
from tests.support.samples import REQUESTS, RESPONSES

DOCUMENT = openapi.document()


def problems(schema: str, instance: Any) -> list[str]:
    rooted = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    return [error.message for error in jsonschema.Draft202012Validator(rooted).iter_errors(instance)]


def test_the_document_is_up_to_date() -> None:
    committed = (Path(__file__).parents[4] / "docs" / "openapi.json").read_text(encoding="utf-8")

    assert committed == openapi.text(), "run: python -m resonate_store.protocol.openapi > docs/openapi.json"


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.kind)
def test_every_request_is_described(request_: ProtocolRequest) -> None:
    kind, data = encode_request(request_)

    assert problems("Request", json.loads(envelope(kind, msgspec.to_builtins(data)))) == []


@pytest.mark.parametrize(("request_", "response", "_data"), RESPONSES, ids=lambda part: getattr(part, "kind", None))
def test_every_response_is_described(request_: ProtocolRequest, response: Response, _data: Any) -> None:
    head = {"corrId": "c", "status": response.status, "version": "2026-04-01"}
    document = {"kind": request_.kind, "head": head, "data": encode_response(request_, response)}

    assert problems("Response", json.loads(msgspec.json.encode(document))) == []


def test_what_is_no_request_is_not_described() -> None:
    assert problems("Request", json.loads(envelope("promise.get", {})))
    assert problems("Request", json.loads(envelope("promise.wake", {"id": "a"})))
    fence = {"id": "a", "version": 1, "action": {"kind": "promise.get", "data": {"id": "b"}}}
    assert problems("Request", json.loads(envelope("task.fence", fence)))
