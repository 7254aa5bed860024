"""Gateway that submits reports and answers with their status, without waiting for them.

It has no state. So any instance can answer for a report that another instance submitted, also after a restart.
"""

from typing import Any
from urllib.parse import quote, unquote

from chalice import BadRequestError, Chalice, Response

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
    if "/" in id:
        raise BadRequestError("the id is a part of the report's path, and has no slash")
    try:
        resonate.options(target="poll://any@worker").begin_rpc(id, "make_report", customer, secs)
    except ValueError as error:  # the id is empty, or too long
        raise BadRequestError(str(error)) from None
    return Response({"id": id, "status": f"/reports/{quote(id, safe='')}"}, status_code=202)


@app.route("/reports/{id}")
def status(id: str) -> dict[str, Any] | Response:
    try:
        handle = resonate.get(unquote(id))
    except ResonateStoreError as error:
        return Response({"Message": error.mesg}, status_code=error.status)
    if not handle.done():
        return {"status": "pending"}
    try:
        return {"status": "completed", "result": handle.result()}
    except Exception as error:  # any error of the workflow
        return {"status": "failed", "error": str(error)}
