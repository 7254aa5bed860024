"""The application of the development server, called without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from resonate_infra.server.application import application
from resonate_infra.server.hub import Hub

PREFLIGHT = {
    "Origin": "http://app.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,authorization",
}


def echo(body: bytes) -> tuple[int, bytes]:
    return 422, b"<" + body + b">"


class Client:
    """HTTP client that calls the application directly."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://server") as client:
                return await client.request(method, path, **request)

        return asyncio.run(call())

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)


def client(answer: Callable[[bytes], tuple[int, bytes]] = echo, ready: bool = True, **options: Any) -> Client:
    return Client(application(answer, lambda: ready, options.pop("hub", None) or Hub(), **options))
