"""Routes of the development server (docs/protocol.md 1.1).

`answer` handles the envelopes of the protocol. The deployed API function calls the same code. This module adds the
other routes, the streams, and the details of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from resonate_infra.server.answering import Answer, InThreads
from resonate_infra.server.hub import Connection, Hub, TooManyConnections
from resonate_infra.server.origins import OriginCheck
from resonate_store.interface import StoreError
from resonate_store.protocol.service import Limits, Refused

MAX_BODY_BYTES: Final = Limits().body_bytes
"""The size of the largest request, in bytes."""
KEEP_ALIVE_S: Final = 15.0
"""Maximum seconds without data on a stream. Proxies close idle streams, and only a write detects a dead peer."""
CONSOLE: Final = "/console"
"""The path of the console."""
LEGACY: Final = ("promises", "schedules", "tasks")
OUTDATED: Final = (
    "This server speaks the current Resonate protocol, one envelope to POST /, and not the API under"
    " /promises, /schedules and /tasks: update the Resonate SDK of this program"
)
_CLOSE: Final = {"Connection": "close"}
"""Header of every response to a poll. A connection that stays open after it counts towards the maximum number."""


class Admission(NamedTuple):
    """Messages that a token permits its bearer to receive.

    Attributes:
        prefix: only messages about tasks and promises whose ids begin with it.
        left_s: returns for how many more seconds the token is valid. None if it does not expire.
    """

    prefix: str = ""
    left_s: Callable[[], float] | None = None


Authenticate = Callable[[str | None], Admission]
"""Function that returns what an `Authorization` header permits, or raises `Refused`."""

logger = logging.getLogger("resonate.server")


def application(
    answer: Answer | InThreads,
    ready: Callable[[], bool],
    hub: Hub,
    *,
    authenticate: Authenticate | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    keep_alive_s: float = KEEP_ALIVE_S,
    console: Callable[[], ASGIApp] | None = None,
) -> Starlette:
    """Return the server as an ASGI application.

    Args:
        answer: answers one envelope. A function is called in a thread.
        ready: returns whether the store can be used, or raises a `StoreError` with the reason. Called in a thread.
        hub: the streams.
        authenticate: checks the token of a poll. None admits every poll.
        origins: pages of these origins may call. "*" admits all.
        hosts: names of the server in addition to loopback; None if callers need tokens. If given, requests to other
            names and requests of other pages are refused (see `OriginCheck`).
        keep_alive_s: maximum seconds without data on a stream.
        console: makes the console. It is called by the first request to it.
    """
    answering = answer if isinstance(answer, InThreads) else InThreads(answer)
    endpoints = _Endpoints(ready, hub, authenticate, keep_alive_s)
    app = Starlette(
        routes=[
            Route("/", _unanswered, methods=["POST"]),
            Route("/health", endpoints.health),
            Route("/ready", endpoints.is_ready),
            Route("/poll/{rest:path}", endpoints.poll),
            *(Route(f"/{name}", _gone) for name in LEGACY),
            *(Route(f"/{name}/{{rest:path}}", _gone) for name in LEGACY),
        ],
        middleware=[
            *([] if console is None else [Middleware(_WithConsole, console=console)]),
            *([] if hosts is None else [Middleware(OriginCheck, hosts=hosts, origins=origins)]),
            *([_cross_origin(origins)] if origins else []),
            Middleware(_Envelopes, answering=answering),
        ],
    )
    app.router.redirect_slashes = False
    return app


def _cross_origin(origins: Sequence[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=["Origin", "Content-Length", "Content-Type", "Authorization"],
    )


class _Gone:
    """Response to every method on a route of the legacy protocol.

    It is a class because Starlette needs a list of methods for a function.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The error has the form of the legacy protocol, so that SDKs of that protocol show the message.
        error = {"message": OUTDATED, "code": 41000}
        await JSONResponse({"error": error}, status_code=410)(scope, receive, send)


_gone = _Gone()


class _Envelopes:
    """ASGI middleware that answers `POST /`, by far the most frequent request, without a route."""

    def __init__(self, app: ASGIApp, answering: InThreads) -> None:
        self._app = app
        self._begin = answering.begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return  # The client is gone.
        answer = self._begin(body)
        status, content = answer if isinstance(answer, tuple) else await answer
        length = str(len(content)).encode()
        await send({"type": "http.response.start", "status": status, "headers": [*_JSON, (b"content-length", length)]})
        await send({"type": "http.response.body", "body": content})


class _WithConsole:
    """ASGI middleware that passes requests to the console, and sends a browser at `/` there.

    The console checks its requests itself, so it comes before all other checks.
    """

    def __init__(self, app: ASGIApp, console: Callable[[], ASGIApp]) -> None:
        self._app = app
        self._make = console
        self._console: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if path == "/" and scope.get("method") == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
            await RedirectResponse(CONSOLE, 303)(scope, receive, send)
        elif path == CONSOLE or path.startswith(f"{CONSOLE}/"):
            if self._console is None:
                self._console = self._make()
            await self._console(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_JSON: Final = ((b"content-type", b"application/json"),)


async def _unanswered(_request: Request) -> Response:
    """Name the methods of `/`: `_Envelopes` answers its POST."""
    return Response(status_code=405)


class _Endpoints:
    def __init__(
        self,
        ready: Callable[[], bool],
        hub: Hub,
        authenticate: Authenticate | None,
        keep_alive_s: float,
    ) -> None:
        self._ready = ready
        self._hub = hub
        self._authenticate = authenticate
        self._keep_alive_s = keep_alive_s

    async def health(self, _request: Request) -> Response:
        return Response()

    async def is_ready(self, _request: Request) -> Response:
        try:
            return Response(status_code=200 if await run_in_threadpool(self._ready) else 503)
        except StoreError as error:
            logger.error("the store cannot be used: %s", error)
            # The reason names files and tables. Callers without a token must not see them.
            return PlainTextResponse(str(error) if self._authenticate is None else "", status_code=503)

    async def poll(self, request: Request) -> Response:
        who = _segments(request)
        if who is None:
            return PlainTextResponse("poll at /poll/{group}/{id}", status_code=404)
        admission = Admission()
        if self._authenticate is not None:
            try:
                admission = await run_in_threadpool(self._authenticate, request.headers.get("authorization"))
            except Refused as refused:
                return PlainTextResponse(refused.message, status_code=refused.status, headers=_CLOSE)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        group, id = who
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        try:
            connection = self._hub.connect(group, id, lambda: loop.call_soon_threadsafe(news.set), admission.prefix)
        except TooManyConnections as error:
            logger.warning("%s/%s is refused: %s", group, id, error)
            return PlainTextResponse(str(error), status_code=503, headers=_CLOSE)
        return _EventStream(self._hub, connection, news, self._keep_alive_s, headers | _CLOSE, admission.left_s)


class _EventStream(StreamingResponse):
    """Stream of messages to a worker. The hub removes it when it ends, even if nothing was sent."""

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        news: asyncio.Event,
        keep_alive_s: float,
        headers: dict[str, str],
        left_s: Callable[[], float] | None,
    ) -> None:
        events = _events(hub, connection, news, keep_alive_s, left_s or _endless)
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._hub = hub
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = f"{self._connection.group}/{self._connection.id}"
        logger.info("%s connected", who)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.disconnect(self._connection)
            logger.info("%s disconnected", who)


def _endless() -> float:
    return math.inf


async def _events(
    hub: Hub, connection: Connection, news: asyncio.Event, keep_alive_s: float, left_s: Callable[[], float]
) -> AsyncIterator[bytes]:
    while not connection.closed and left_s() > 0:
        news.clear()
        while (message := hub.take(connection)) is not None:
            yield b"data: " + message + b"\n\n"
        try:
            await asyncio.wait_for(news.wait(), min(keep_alive_s, max(0.0, left_s())))
        except TimeoutError:
            yield b": keep-alive\n\n"


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request, or None if the client is gone. Return only the first part of one that is too large.

    The rest is read but not kept, because a client reads no response while it still sends.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return message.get("body", b"")  # nearly always
    body = bytearray()
    while message["type"] == "http.request":
        if len(body) <= MAX_BODY_BYTES:
            body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()
    return None


def _segments(request: Request) -> tuple[str, str] | None:
    """Return group and id of a poll path, or None if it is malformed.

    The path is split before it is decoded, because group and id can contain an encoded slash.
    """
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    segments = raw.partition(b"?")[0].split(b"/")[2:]
    try:
        group, id = (unquote_to_bytes(segment).decode() for segment in segments)
    except ValueError:  # Not two segments, or not UTF-8.
        return None
    return (group, id) if group and id else None
