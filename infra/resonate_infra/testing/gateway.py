"""API Gateway of the offline stack. It converts an HTTP request into the event of a function, and back.

It does what a REST API with proxy integrations does. It has only the routes of the template. Where the template
requires IAM, a request must be marked as signed; signatures are not verified.
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
"""The ARN of the caller of signed requests."""


class Gateway:
    """API of a stack.

    Args:
        routes: the routes of the template.
        invoke: invokes a function by its logical id, and returns its response.
        now: returns the time (ms).
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
        """Send a request and return the response.

        Args:
            method, path: the route, such as `POST` and `/`.
            body: the body.
            headers: the headers.
            signed: whether the request counts as signed with AWS credentials that may invoke the API.

        Returns:
            The response. 403 if the route does not exist or the signature is missing, 502 if the function fails.
        """
        route = self._routes.get((method, path))
        if route is None or (route.signed and not signed):
            # API Gateway gives the same response for a route that does not exist.
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
        """Return the event of the function of `route` for a request with this `body` and these `headers`."""
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
            # Bytes that are not text are replaced, because the API declares no binary media types.
            "body": body.decode(errors="replace") if body else None,
            "isBase64Encoded": False,
        }
