"""The OpenAPI document is up to date, and agrees with what the server reads and writes."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from resonate_store.protocol import openapi
from resonate_store.protocol.wire import encode_request, encode_response
from tests.support.envelopes import envelope
from tests.support.samples import REQUESTS, RESPONSES

DOCUMENT = openapi.document()


def problems(schema: str, instance: Any) -> list[str]:
    rooted = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    return [error.message for error in jsonschema.Draft202012Validator(rooted).iter_errors(instance)]


def test_openapi_document_is_up_to_date() -> None:
    committed = (Path(__file__).parents[4] / "docs" / "openapi.json").read_text(encoding="utf-8")

    assert committed == openapi.text(), "run: python -m resonate_store.protocol.openapi > docs/openapi.json"


def test_openapi_describes_each_request(subtests: pytest.Subtests) -> None:
    for request in REQUESTS:
        with subtests.test(request=request):
            kind, data = encode_request(request)

            assert problems("Request", json.loads(envelope(kind, msgspec.to_builtins(data)))) == []


def test_openapi_describes_each_response(subtests: pytest.Subtests) -> None:
    for request, response, _data in RESPONSES:
        with subtests.test(request=request, response=response):
            head = {"corrId": "c", "status": response.status, "version": "2026-04-01"}
            document = {"kind": request.kind, "head": head, "data": encode_response(request, response)}

            assert problems("Response", json.loads(msgspec.json.encode(document))) == []


def test_openapi_does_not_describe_invalid_requests() -> None:
    assert problems("Request", json.loads(envelope("promise.get", {})))
    assert problems("Request", json.loads(envelope("promise.wake", {"id": "a"})))
    fence = {"id": "a", "version": 1, "action": {"kind": "promise.get", "data": {"id": "b"}}}
    assert problems("Request", json.loads(envelope("task.fence", fence)))
