"""HTTP requests become events of API Gateway, and what functions answer becomes responses."""

from typing import Any

import pytest

from resonate_infra.testing.gateway import Gateway, HttpResponse
from resonate_infra.testing.template.deployment import Route
from resonate_infra.testing.template.resources import create
from resonate_infra.testing.template.template import Stack, default_template, load
from tests.unit.infra.testing.template.test_resources import client  # noqa: F401

ROUTES = (Route("POST", "/", "ApiFunction", signed=True), Route("GET", "/health", "ApiFunction", signed=False))


class Function:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.answer: Any = {"statusCode": 200, "body": "ok", "headers": {"X": "1"}}

    def __call__(self, function: str, event: Any) -> Any:
        assert function == "ApiFunction"
        self.events.append(event)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def gateway(function: Function) -> Gateway:
    return Gateway(ROUTES, function, lambda: 1_735_689_600_000)


def test_a_request_becomes_an_event(gateway: Gateway, function: Function) -> None:
    response = gateway.request("POST", "/", "ü".encode(), {"Content-Type": "text/plain"}, signed=True)
    (event,) = function.events

    assert response == HttpResponse(200, {"X": "1"}, b"ok")
    assert (event["httpMethod"], event["resource"], event["body"]) == ("POST", "/", "ü")
    assert event["headers"]["Content-Type"] == "text/plain"
    assert event["requestContext"]["resourcePath"] == "/"
    assert event["requestContext"]["identity"]["userArn"].startswith("arn:aws:iam::")


def test_whoever_need_not_sign_is_unknown(gateway: Gateway, function: Function) -> None:
    assert gateway.request("GET", "/health").status == 200
    assert function.events[0]["requestContext"]["identity"]["userArn"] is None
    assert function.events[0]["body"] is None


def test_an_answer_that_is_encoded_is_decoded(gateway: Gateway, function: Function) -> None:
    function.answer = {"statusCode": 201, "body": "AAE=", "isBase64Encoded": True, "multiValueHeaders": {"X": ["2"]}}

    assert gateway.request("GET", "/health") == HttpResponse(201, {"X": "2"}, b"\0\1")


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("GET", "/"), ("GET", "/nowhere")])
def test_no_signature_or_no_route_is_the_same(gateway: Gateway, function: Function, method: str, path: str) -> None:
    assert gateway.request(method, path) == HttpResponse(403, {}, b'{"message":"Missing Authentication Token"}')
    assert function.events == []


def test_a_function_that_fails_is_a_bad_gateway(gateway: Gateway, function: Function) -> None:
    function.answer = RuntimeError("secret")

    assert gateway.request("GET", "/health") == HttpResponse(502, {}, b'{"message": "Internal server error"}')


def test_the_routes_are_those_of_the_template(client: Any) -> None:  # noqa: F811
    deployment = create(load(default_template(), stack=Stack("routed")), client)

    assert set(deployment.routes) == {
        Route("POST", "/", "ApiFunction", signed=True),
        Route("OPTIONS", "/", "ApiFunction", signed=False),
        Route("GET", "/health", "ApiFunction", signed=True),
        Route("GET", "/ready", "ApiFunction", signed=True),
    }
    assert deployment.outputs["ApiUrl"] == "https://api.execute-api.us-east-1.amazonaws.com/v1/"
