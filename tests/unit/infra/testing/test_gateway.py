"""Events of API Gateway for HTTP requests, and responses for the results of functions."""

from typing import Any

import pytest

from resonate_infra.testing.gateway import Gateway, HttpResponse
from resonate_infra.testing.template.deployment import Route
from resonate_infra.testing.template.resources import create
from resonate_infra.testing.template.template import TemplateStack, default_template, load

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


def test_signed_request_becomes_an_event(gateway: Gateway, function: Function) -> None:
    response = gateway.request("POST", "/", "ü".encode(), {"Content-Type": "text/plain"}, signed=True)
    (event,) = function.events

    assert response == HttpResponse(200, {"X": "1"}, b"ok")
    assert (event["httpMethod"], event["resource"], event["body"]) == ("POST", "/", "ü")
    assert event["headers"]["Content-Type"] == "text/plain"
    assert event["requestContext"]["resourcePath"] == "/"
    assert event["requestContext"]["identity"]["userArn"].startswith("arn:aws:iam::")


def test_event_of_an_unsigned_request_has_no_user(gateway: Gateway, function: Function) -> None:
    assert gateway.request("GET", "/health").status == 200
    assert function.events[0]["requestContext"]["identity"]["userArn"] is None
    assert function.events[0]["body"] is None


def test_base64_result_of_a_function_is_decoded(gateway: Gateway, function: Function) -> None:
    function.answer = {"statusCode": 201, "body": "AAE=", "isBase64Encoded": True, "multiValueHeaders": {"X": ["2"]}}

    assert gateway.request("GET", "/health") == HttpResponse(201, {"X": "2"}, b"\0\1")


def test_unsigned_or_unknown_request_is_refused(gateway: Gateway, function: Function) -> None:
    for method, path in (("POST", "/"), ("GET", "/"), ("GET", "/nowhere")):
        assert gateway.request(method, path) == HttpResponse(403, {}, b'{"message":"Missing Authentication Token"}')
    assert function.events == []


def test_failing_function_answers_502(gateway: Gateway, function: Function) -> None:
    function.answer = RuntimeError("secret")

    assert gateway.request("GET", "/health") == HttpResponse(502, {}, b'{"message": "Internal server error"}')


def test_routes_are_those_of_the_template(client: Any) -> None:
    deployment = create(load(default_template(), stack=TemplateStack("routed")), client)

    assert set(deployment.routes) == {
        Route("POST", "/", "ApiFunction", signed=True),
        Route("OPTIONS", "/", "ApiFunction", signed=False),
        Route("GET", "/health", "ApiFunction", signed=True),
        Route("GET", "/ready", "ApiFunction", signed=True),
    }
    assert deployment.outputs["ApiUrl"] == "https://api.execute-api.us-east-1.amazonaws.com/v1/"
