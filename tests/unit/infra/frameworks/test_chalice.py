"""Chalice applications that start executions and show their status, with events of API Gateway."""

from __future__ import annotations

import json

import pytest
from chalice.app import Chalice, Response
from chalice.test import Client

from resonate import Resonate
from resonate_infra.frameworks.chalice import accepted, add_status_route
from tests.support.present import present


@pytest.fixture
def app(resonate: Resonate) -> Chalice:
    app = Chalice(app_name="shop")
    add_status_route(app, resonate, functions=["order"], cors=True)

    def start() -> Response:
        body = present(app.current_request).json_body
        resonate.create_execution(body["id"], "order", body["item"])
        return accepted(app, body["id"])

    app.route("/orders", methods=["POST"])(start)
    return app


def test_start_is_accepted_and_its_status_is_shown(app: Chalice, resonate: Resonate) -> None:
    with Client(app) as web:
        body = json.dumps({"id": "order/1 ?%", "item": "tea"})
        started = web.http.post("/orders", body=body, headers={"Content-Type": "application/json"})
        address = started.headers["Location"]
        assert (started.status_code, started.json_body) == (202, {"id": "order/1 ?%", "status_url": address})
        assert address == "/executions/order%2F1%20%3F%25"

        resonate.promises.resolve(id=wait_for_approval(resonate))
        resonate.get("order/1 ?%").result(10)
        ended = web.http.get(address)
        assert (ended.json_body["state"], ended.json_body["result"]) == ("resolved", {"sent": "tea"})
        assert ended.headers["Access-Control-Allow-Origin"] == "*"


def wait_for_approval(resonate: Resonate) -> str:
    while resonate.executions.get("order/1 ?%").status != "waiting":
        resonate.get("order/1 ?%").done()
    return "approval-tea"


def test_execution_that_is_not_shown_has_404(app: Chalice, resonate: Resonate) -> None:
    resonate.run("secret", "secret")
    with Client(app) as web:
        assert [web.http.get(f"/executions/{id}").status_code for id in ("secret", "missing")] == [404, 404]


@pytest.mark.parametrize(
    ("path", "stage", "address"),
    [("/api/orders", "api", "/api/executions/order-1"), ("/orders", "api", "/executions/order-1")],
    ids=["stage", "domain"],
)
def test_address_has_the_stage_of_api_gateway(app: Chalice, path: str, stage: str, address: str) -> None:
    event = {
        "requestContext": {"httpMethod": "POST", "resourcePath": "/orders", "path": path, "stage": stage},
        "headers": {"Content-Type": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": {},
        "stageVariables": None,
        "isBase64Encoded": False,
        "body": json.dumps({"id": "order-1", "item": "tea"}),
    }
    answer = app(event, None)

    assert (answer["statusCode"], answer["headers"]["Location"]) == (202, address)
