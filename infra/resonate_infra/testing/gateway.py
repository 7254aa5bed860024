"""API Gateway for the offline stack: an HTTP request becomes the event that a function gets, and its answer a response.

Only what a REST API with proxy integrations does: routes that are in the template and no others, and IAM where the
template asks for it, without looking at signatures.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from resonate_infra.testing.template.deployment import Route


class HttpResponse(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


CALLER = "arn:aws:iam::123456789012:user/offline"
"""Who signs requests offline."""


class Gateway:
    """The API of a stack.

    Args:
        routes: what there is.
        invoke: invokes a function by its logical id.
        now: the time in milliseconds.
    """

    def __init__(self, routes: Sequence[Route], invoke: Callable[[str, Any], Any], now: Callable[[], int]) -> None:
        self._routes = {(route.method, route.path): route for route in routes}
        self._invoke = invoke
        self._now = now

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        signed: bool = False,
    ) -> HttpResponse:
        """Send a request; `signed` stands for a signature with AWS credentials that may invoke the API."""
        route = self._routes.get((method, path))
        if route is None or (route.signed and not signed):
            # API Gateway says the same of a route that does not exist.
            return HttpResponse(403, {}, b'{"message":"Missing Authentication Token"}')
        try:
            answer = self._invoke(route.function, self.event(route, body, headers or {}))
        except Exception:
            return HttpResponse(502, {}, b'{"message": "Internal server error"}')
        content: str = answer.get("body") or ""
        encoded = base64.b64decode(content) if answer.get("isBase64Encoded") else content.encode()
        names: dict[str, Sequence[str]] = answer.get("multiValueHeaders") or {}
        received: dict[str, str] = {**(answer.get("headers") or {}), **{name: each[-1] for name, each in names.items()}}
        return HttpResponse(answer["statusCode"], received, encoded)

    def event(self, route: Route, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The event that the function gets."""
        sent = {"Host": "api.execute-api.us-east-1.amazonaws.com", **headers}
        return {
            "resource": route.path,
            "path": route.path,
            "httpMethod": route.method,
            "headers": sent,
            "multiValueHeaders": {name: [text] for name, text in sent.items()},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": route.path,
                "httpMethod": route.method,
                "path": f"/v1{route.path}",
                "protocol": "HTTP/1.1",
                "stage": "v1",
                "requestTimeEpoch": self._now(),
                "identity": {
                    "sourceIp": "127.0.0.1",
                    "userArn": CALLER if route.signed else None,
                    "userAgent": headers.get("User-Agent"),
                },
            },
            # What is no text is replaced: the API declares no binary media types.
            "body": body.decode(errors="replace") if body else None,
            "isBase64Encoded": False,
        }
