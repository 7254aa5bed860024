"""The routes of the server (docs/protocol.md 1.1).

Everything the protocol says is said by `answer`, the same core that a deployed API function calls; here are only the
other routes, the streams, and what HTTP itself needs.
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
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from resonate_infra.server.hub import Connection, Hub, TooManyConnections
from resonate_infra.server.origins import OriginCheck
from resonate_store.interface import StoreError
from resonate_store.protocol.service import Limits, Refused

MAX_BODY_BYTES: Final = Limits().body_bytes
"""The size of the largest request (bytes)."""
KEEP_ALIVE_S: Final = 15.0
"""The longest silence on a stream: proxies close what is quiet, and a dead peer is noticed only by writing."""
LEGACY: Final = ("promises", "schedules", "tasks")
OUTDATED: Final = (
    "This server speaks the current Resonate protocol, one envelope to POST /, and not the API under"
    " /promises, /schedules and /tasks: update the Resonate SDK of this program"
)
_CLOSE: Final = {"Connection": "close"}
"""The header of every answer to a poll. A connection that stays open without a stream takes the place of a request."""

Answer = Callable[[bytes], tuple[int, bytes]]
"""Takes an envelope and returns the status and the envelope of the answer."""


class Admission(NamedTuple):
    """What the bearer of a token may hear.

    Attributes:
        prefix: of the ids.
        left_s: returns for how many more seconds the token is valid; None if it does not expire.
    """

    prefix: str = ""
    left_s: Callable[[], float] | None = None


Authenticate = Callable[[str | None], Admission]
"""Returns what the bearer of an `Authorization` header may hear, or raises `Refused`."""

logger = logging.getLogger("resonate.server")


def application(
    answer: Answer,
    ready: Callable[[], bool],
    hub: Hub,
    *,
    authenticate: Authenticate | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> Starlette:
    """The server as an ASGI application.

    Args:
        answer: answers one envelope.
        ready: whether the store can be used, or a `StoreError` that says why not; called in a thread, like `answer`.
        hub: the streams.
        authenticate: checks who polls; everybody may if it is None.
        origins: pages of these origins may call; "*" for all.
        hosts: names of the server besides those of loopback. Given where no tokens are asked for: then requests to any
            other name, and those of any other page, are refused (see `OriginCheck`).
        keep_alive_s: the longest silence on a stream.
    """
    endpoints = _Endpoints(answer, ready, hub, authenticate, keep_alive_s)
    app = Starlette(
        routes=[
            Route("/", endpoints.post, methods=["POST"]),
            Route("/health", endpoints.health),
            Route("/ready", endpoints.is_ready),
            Route("/poll/{rest:path}", endpoints.poll),
            *(Route(f"/{name}", _gone) for name in LEGACY),
            *(Route(f"/{name}/{{rest:path}}", _gone) for name in LEGACY),
        ],
        middleware=[
            *([] if hosts is None else [Middleware(OriginCheck, hosts=hosts, origins=origins)]),
            *([_cross_origin(origins)] if origins else []),
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
    """Answers any method on a route of the legacy protocol; a class, since for a function Starlette wants a list."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The form of the legacy protocol, so that its SDKs show the message.
        error = {"message": OUTDATED, "code": 41000}
        await JSONResponse({"error": error}, status_code=410)(scope, receive, send)


_gone = _Gone()


class _Endpoints:
    def __init__(
        self,
        answer: Answer,
        ready: Callable[[], bool],
        hub: Hub,
        authenticate: Authenticate | None,
        keep_alive_s: float,
    ) -> None:
        self._answer = answer
        self._ready = ready
        self._hub = hub
        self._authenticate = authenticate
        self._keep_alive_s = keep_alive_s

    async def post(self, request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        status, content = await run_in_threadpool(self._answer, body)
        return Response(content, status_code=status, media_type="application/json")

    async def health(self, _request: Request) -> Response:
        return Response()

    async def is_ready(self, _request: Request) -> Response:
        try:
            return Response(status_code=200 if await run_in_threadpool(self._ready) else 503)
        except StoreError as error:
            logger.error("the store cannot be used: %s", error)
            # The reason names files and tables, which are not for callers without a token.
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
    """A stream, which the hub forgets however it ends, be it before its first byte."""

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


async def _body(request: Request) -> bytes:
    """The body of a request; of one that is too large only as much as shows that it is.

    The rest is read all the same: a client that is still sending does not look for an answer.
    """
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= MAX_BODY_BYTES:
            body += chunk
    return bytes(body)


def _segments(request: Request) -> tuple[str, str] | None:
    """Group and id of a poll path. It is taken apart as it was sent: either may hold an encoded slash."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    segments = raw.partition(b"?")[0].split(b"/")[2:]
    try:
        group, id = (unquote_to_bytes(segment).decode() for segment in segments)
    except ValueError:  # another number of segments, or no UTF-8
        return None
    return (group, id) if group and id else None
