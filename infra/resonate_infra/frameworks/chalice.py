"""Helpers for Chalice: a route for the status of executions, and the answer to a start.

    app = Chalice(app_name="shop")
    add_status_route(app, resonate, functions=["order"])

    @app.route("/orders", methods=["POST"])
    def start() -> Response:
        order = app.current_request.json_body
        resonate.create_execution(f"order-{order['number']}", "order", order["item"])
        return accepted(app, f"order-{order['number']}")

Chalice deploys the application as a Lambda function. `create_execution` starts no threads, which Lambda would freeze.
Needs the extra `api`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote, unquote

from chalice.app import Chalice, NotFoundError, Response

from resonate import Resonate
from resonate_infra.frameworks.status import status_of

PATH = "/executions/{id}"
"""The path of the status."""


def add_status_route(
    app: Chalice, resonate: Resonate, *, functions: Collection[str] | None = None, **route: Any
) -> None:
    """Add `GET /executions/{id}`: the status of an execution, as `resonate_infra.frameworks.status` says.

    An execution that does not exist has 404. A request that waits would pay for the Lambda function meanwhile, so the
    answer is sent at once.

    Args:
        app: the application.
        resonate: the connection.
        functions: the functions whose executions are shown; all by default.
        route: options of `Chalice.route`, such as `authorizer` or `cors`.
    """

    def execution(id: str) -> dict[str, Any]:
        status = status_of(resonate, unquote(id), functions=functions)
        if status is None:
            raise NotFoundError("the execution was not found")
        return status

    register: Any = app.route(PATH, methods=["GET"], name="resonate_execution", **route)
    register(execution)


def accepted(app: Chalice, id: str) -> Response:
    """Return the answer to a start: 202, with the address of the status as `Location` and in the body.

    It does not read the execution. If the id existed with other arguments, the answer is the same: docs/frameworks.md
    says how to refuse that.

    Args:
        app: the application, which is in a request.
        id: the id of the execution.
    """
    address = _stage(app) + PATH.replace("{id}", quote(id, safe=""))
    return Response({"id": id, "status_url": address}, status_code=202, headers={"Location": address})


def _stage(app: Chalice) -> str:
    """Return the stage of API Gateway as the beginning of a path. A domain of its own does not have one."""
    request: Any = app.current_request
    context = request.context
    stage = f"/{context.get('stage', '')}"
    return stage if str(context.get("path", "")).startswith(f"{stage}/") and stage != "/" else ""
