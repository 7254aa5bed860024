"""Takes work in, and tells how it is going, without waiting for it.

It remembers nothing: any instance answers for what another one has submitted, and so does this one after a restart.
"""

from typing import Any

from chalice import BadRequestError, Chalice, NotFoundError, Response

from resonate import Resonate
from resonate.errors import ResonateStoreError

app = Chalice(app_name="async-gateway")
resonate = Resonate.remote(group="gateway")


@app.route("/reports", methods=["POST"])
def submit() -> Response:
    body = app.current_request.json_body
    try:
        id, customer, secs = str(body["id"]), str(body["customer"]), float(body.get("secs", 1.0))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadRequestError("a report needs an id and a customer, and takes some seconds") from None
    resonate.options(target="poll://any@worker").begin_rpc(id, "make_report", customer, secs)
    return Response({"id": id, "status": f"/reports/{id}"}, status_code=202)


@app.route("/reports/{id}")
def status(id: str) -> dict[str, Any]:
    try:
        handle = resonate.get(id)
    except ResonateStoreError as error:
        raise NotFoundError(error.mesg) from None
    if not handle.done():
        return {"status": "pending"}
    try:
        return {"status": "completed", "result": handle.result()}
    except Exception as error:  # whatever the report failed with
        return {"status": "failed", "error": str(error)}
