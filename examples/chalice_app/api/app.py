"""API of a shop with Chalice. It starts orders and shows their status; a worker runs them.

Deployed, it is a Lambda function: it has no state, and starts no threads.
"""

from typing import Any

from chalice.app import BadRequestError, Chalice, Response

from resonate import Resonate
from resonate_infra.frameworks.chalice import accepted, add_status_route

app = Chalice(app_name="shop")
resonate = Resonate(group="api")
add_status_route(app, resonate, functions=["fulfil"])


@app.route("/orders", methods=["POST"])
def order() -> Response:
    assert app.current_request is not None
    body: Any = app.current_request.json_body
    try:
        id, item = f"parcel-{int(body['number'])}", str(body["item"])
    except (KeyError, TypeError, ValueError):
        raise BadRequestError("an order has a number and an item") from None
    resonate.options(target="shop").create_execution(id, "fulfil", item)
    return accepted(app, id)
