"""The routes (docs/protocol.md 1.1), without a network; streams are tested on a real one, in test_assembly.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from resonate_infra.server.application import MAX_BODY_BYTES, Admission, application
from resonate_infra.server.hub import Hub
from resonate_store.protocol.service import Refused


def echo(body: bytes) -> tuple[int, bytes]:
    return 422, b"<" + body + b">"


class Client:
    """Calls the application."""

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


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not announced."""
    for piece in pieces:
        yield piece


def test_an_envelope_is_answered_as_it_is_whatever_its_content_type() -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        answer = client().post("/", content=b"\xff{}", headers=headers)
        assert (answer.status_code, answer.content) == (422, b"<\xff{}>")
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 4 * MAX_BODY_BYTES])
def test_a_body_that_is_too_large_is_not_kept_whole(size: int) -> None:
    def count(body: bytes) -> tuple[int, bytes]:
        return 200, str(len(body)).encode()

    pieces = [b"x" * min(MAX_BODY_BYTES // 2, size - start) for start in range(0, size, MAX_BODY_BYTES // 2)]
    kept = int(client(count).post("/", content=in_pieces(*pieces)).content)
    assert kept == size if size <= MAX_BODY_BYTES else MAX_BODY_BYTES < kept <= 3 * MAX_BODY_BYTES // 2


def test_health_says_that_it_runs_and_ready_that_it_has_its_store() -> None:
    assert (client().get("/health").status_code, client().get("/health").content) == (200, b"")
    assert (client().get("/ready").status_code, client().get("/ready").content) == (200, b"")
    assert client(ready=False).get("/ready").status_code == 503
    assert client(ready=False).get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/promises", "/promises/x", "/tasks/claim", "/tasks", "/schedules/a/b%2Fc"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD"])
def test_the_legacy_routes_are_gone(method: str, path: str) -> None:
    answer = client().request(method, path)

    assert answer.status_code == 410
    if method != "HEAD":
        error = answer.json()["error"]
        assert "update the Resonate SDK" in error["message"]
        assert error["code"] == 41000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 405),
        ("PUT", "/", 405),
        ("POST", "/health", 405),
        ("POST", "/poll/g/1", 405),
        ("GET", "/nothing", 404),
        ("GET", "/promisesx", 404),
        ("GET", "/health/", 404),
        ("GET", "/poll/g", 404),
        ("GET", "/poll/g/", 404),
        ("GET", "/poll//1", 404),
        ("GET", "/poll/g/1/2", 404),
        ("GET", "/poll/g/%ff", 404),
    ],
)
def test_anything_else_is_not_found_or_not_allowed(method: str, path: str, status: int) -> None:
    assert client().request(method, path).status_code == status


def test_asking_for_the_head_of_a_stream_opens_none() -> None:
    answer = client(hub=Hub(limit=0)).request("HEAD", "/poll/g/1")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_too_many_streams_are_refused() -> None:
    answer = client(hub=Hub(limit=0)).get("/poll/g/1")

    assert answer.status_code == 503
    assert "0 workers poll already" in answer.text


def test_who_polls_may_have_to_say_who_he_is() -> None:
    asked: list[str | None] = []

    def authenticate(authorization: str | None) -> Admission:
        asked.append(authorization)
        if authorization != "Bearer good":
            raise Refused(*((403, "Forbidden") if authorization == "Bearer weak" else (401, "Unauthorized")))
        return Admission()

    # With no room for streams the answer to those who may have one is 503.
    server = client(hub=Hub(limit=0), authenticate=authenticate)
    assert server.get("/poll/g/1").status_code == 401
    assert server.get("/poll/g/1").text == "Unauthorized"
    assert server.get("/poll/g/1", headers={"Authorization": "Bearer bad"}).status_code == 401
    weak = server.get("/poll/g/1", headers={"Authorization": "Bearer weak"})
    assert (weak.status_code, weak.text) == (403, "Forbidden")
    assert server.get("/poll/g/1", headers={"Authorization": "Bearer good"}).status_code == 503
    assert asked == [None, None, "Bearer bad", "Bearer weak", "Bearer good"]
    assert server.get("/health").status_code == 200


PREFLIGHT = {
    "Origin": "http://app.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,authorization",
}


def test_pages_may_not_call_by_default() -> None:
    assert client().request("OPTIONS", "/", headers=PREFLIGHT).status_code == 405
    answer = client().post("/", content=b"{}", headers={"Origin": "http://app.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/poll/g/1"])
@pytest.mark.parametrize(
    ("origins", "allowed"),
    [(["http://app.example", "http://b"], "http://app.example"), (["*"], "*"), (["http://b"], None)],
)
def test_pages_of_listed_origins_may_call_and_poll(path: str, origins: list[str], allowed: str | None) -> None:
    server = client(origins=origins, hub=Hub(limit=0))
    preflight = server.request("OPTIONS", path, headers=PREFLIGHT)
    method = "POST" if path == "/" else "GET"
    answer = server.request(method, path, headers={"Origin": "http://app.example"})

    assert preflight.status_code == (400 if allowed is None else 200)
    assert answer.headers.get("access-control-allow-origin") == allowed
    if allowed is not None:
        assert preflight.headers["access-control-allow-origin"] == allowed
        assert {"authorization", "content-type"} <= {
            name.strip().lower() for name in preflight.headers["access-control-allow-headers"].split(",")
        }
