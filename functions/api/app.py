"""API function: the Resonate protocol over HTTP, behind API Gateway."""

import os
from collections.abc import Callable, Mapping
from typing import cast

from resonate_infra.deployed.observability import Observability
from resonate_store.extras import extra

with extra("api", "the API function"):
    from chalice.app import Chalice, Request, Response

    from resonate_infra.deployed.api import Api

observability = Observability()
api = Api(os.environ)
app = Chalice(app_name="resonate", configure_logs=False)
handler = observability.handler(app)

UNSIGNED = "Sign the request with AWS credentials; or deploy with AuthPublicKey, and tokens count instead"


@app.middleware("http")
def known_callers_only(request: Request, get_response: Callable[[Request], Response]) -> Response:
    """Reject requests that are not authenticated, and add CORS headers to answers."""
    if request.method != "OPTIONS" and not api.admits(request.context):
        return Response(body={"message": UNSIGNED}, status_code=403)
    response = get_response(request)
    headers = cast("Mapping[str, str]", request.headers)
    response.headers.update(api.cors(headers.get("origin")))
    return response


@app.route("/", methods=["POST"], content_types=["*/*"])
def protocol() -> Response:
    """Answer a request of the protocol. Its content type is not checked, because clients send different ones."""
    assert app.current_request is not None, "Chalice sets it before it calls a view"
    body = app.current_request.raw_body
    status, answer = api.answer(body.encode() if isinstance(body, str) else body)
    return Response(body=answer.decode(), status_code=status, headers={"Content-Type": "application/json"})


@app.route("/", methods=["OPTIONS"])
def preflight() -> Response:
    """Answer a CORS preflight; the middleware adds the headers."""
    return Response(body="", status_code=204)


@app.route("/health", methods=["GET"])
def health() -> Response:
    return Response(body="", status_code=200)


@app.route("/ready", methods=["GET"])
def ready() -> Response:
    return Response(body="", status_code=200 if api.ready() else 503)
