"""Tests of the API together with the worker. They run in memory, without an AWS account, and a test moves the clock."""

import json
from collections.abc import Iterator
from typing import Any

import api
import app
import pytest

from resonate.testing import MemoryStack


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryStack]:
    stack = MemoryStack(app.resonate)
    client = stack.client()
    stack.register(app.order, group=api.TARGET)
    monkeypatch.setattr(api, "resonate", client)
    yield stack
    client.stop()


def request(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request as API Gateway does. Return the status and the body of the response."""
    event = {
        "version": "2.0",
        "rawPath": path,
        "headers": {},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
    response = api.handler(event, None)
    return response["statusCode"], json.loads(response["body"])


def test_placed_order_has_a_receipt_after_a_day(stack: MemoryStack) -> None:
    status, order = request("PUT", "/orders/17", {"amount": 30.0})
    assert (status, order["id"]) == (202, "17")

    stack.advance(hours=1)
    assert request("GET", "/orders/17") == (200, {"id": "17", "status": "waiting"})
    stack.advance(hours=23)
    receipt = "order 17: 30.00 reserved, captured"
    assert request("GET", "/orders/17") == (200, {"id": "17", "status": "resolved", "receipt": receipt})


def test_order_that_is_placed_twice_starts_once(stack: MemoryStack) -> None:
    request("PUT", "/orders/18", {"amount": 30.0})
    request("PUT", "/orders/18", {"amount": 99.0})
    stack.advance(days=1)

    assert request("GET", "/orders/18")[1]["receipt"] == "order 18: 30.00 reserved, captured"


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("body", [None, [], {}, {"amount": "30"}, {"amount": True}, {"amount": 0}])
def test_order_without_an_amount_is_refused(body: Any) -> None:
    assert request("PUT", "/orders/19", body)[0] == 400
    assert request("GET", "/orders/19")[0] == 404


def test_id_of_a_step_is_refused(stack: MemoryStack) -> None:
    request("PUT", "/orders/20", {"amount": 30.0})
    stack.advance(minutes=1)

    assert request("PUT", "/orders/20.3", {"amount": 30.0})[0] == 400
    assert request("GET", "/orders/20.1")[0] == 404
