"""HTTP API of this project. It starts orders and shows them. The worker of `app.py` runs them.

API Gateway admits requests that are signed with AWS credentials. An id starts one order, however often it is sent.
"""

import json
import os
import re
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import BadRequestError, NotFoundError

from resonate import Resonate
from resonate.errors import ResonateStoreError

TARGET = os.environ.get("ORDERS_TARGET", "worker")

resonate = Resonate()
routes = APIGatewayHttpResolver()


@routes.put("/orders/<order_id>")
def place(order_id: str) -> tuple[dict[str, Any], int]:
    """Start an order, unless it exists: `{"amount": 30.0}`."""
    # A dot would make the id that of a step of another order.
    if not re.fullmatch(r"[\w-]{1,64}", order_id, re.ASCII):
        raise BadRequestError("an id has 1 to 64 letters, digits, - and _")
    try:
        body: Any = json.loads(routes.current_event.body or "")
    except ValueError:
        body = None
    amount: Any = body.get("amount") if isinstance(body, dict) else None
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < 1_000_000:
        raise BadRequestError('the body is JSON with an amount between 0 and 1,000,000: {"amount": 30.0}')
    resonate.options(target=TARGET).begin_rpc(order_id, "order", float(amount))
    return show(order_id), 202


@routes.get("/orders/<order_id>")
def show(order_id: str) -> dict[str, Any]:
    """Return what an order does, and its receipt when there is one."""
    try:
        order = resonate.executions.get(order_id)
    except ResonateStoreError as error:
        if error.status != 404:
            raise
        raise NotFoundError(f"order {order_id} does not exist") from None
    if order.function != "order":
        raise NotFoundError(f"order {order_id} does not exist")
    answer: dict[str, Any] = {"id": order.id, "status": order.status}
    if order.state == "resolved":
        answer["receipt"] = resonate.get(order_id).result()
    return answer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return routes.resolve(event, context)
