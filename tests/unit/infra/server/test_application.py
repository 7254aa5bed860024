"""Routes (docs/protocol.md 1.1), without a network. test_assembly.py tests streams on a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from resonate_infra.server.application import MAX_BODY_BYTES, Admission
from resonate_infra.server.hub import Hub
from resonate_store.protocol.service import Refused
from tests.support.application import PREFLIGHT, client


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    """Yield a body of unknown length."""
    for piece in pieces:
        yield piece


def test_envelope_is_answered_unchanged_with_any_content_type() -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        answer = client().post("/", content=b"\xff{}", headers=headers)
        assert (answer.status_code, answer.content) == (422, b"<\xff{}>")
        assert answer.headers["content-type"] == "application/json"


def test_body_beyond_the_limit_is_not_kept_whole() -> None:
    def kept(size: int) -> int:
        pieces = [b"x" * min(MAX_BODY_BYTES // 2, size - start) for start in range(0, size, MAX_BODY_BYTES // 2)]
        counting = client(lambda body: (200, str(len(body)).encode()))
        return int(counting.post("/", content=in_pieces(*pieces)).content)

    assert kept(MAX_BODY_BYTES) == MAX_BODY_BYTES
    assert MAX_BODY_BYTES < kept(MAX_BODY_BYTES + 1) <= 3 * MAX_BODY_BYTES // 2
    assert MAX_BODY_BYTES < kept(4 * MAX_BODY_BYTES) <= 3 * MAX_BODY_BYTES // 2


def test_ready_depends_on_the_store_and_health_does_not() -> None:
    for path, ready, status in (("/health", True, 200), ("/ready", True, 200), ("/health", False, 200)):
        answer = client(ready=ready).get(path)
        assert (answer.status_code, answer.content) == (status, b"")
    assert client(ready=False).get("/ready").status_code == 503


def test_legacy_routes_answer_410(subtests: pytest.Subtests) -> None:
    for path in ("/promises", "/promises/x", "/tasks/claim", "/tasks", "/schedules/a/b%2Fc"):
        for method in ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD"):
            with subtests.test(path, method=method):
                answer = client().request(method, path)
                assert answer.status_code == 410
                if method != "HEAD":
                    error = answer.json()["error"]
                    assert "update the Resonate SDK" in error["message"]
                    assert error["code"] == 41000


UNKNOWN = {
    ("GET", "/"): 405,
    ("PUT", "/"): 405,
    ("POST", "/health"): 405,
    ("POST", "/poll/g/1"): 405,
    ("GET", "/nothing"): 404,
    ("GET", "/promisesx"): 404,
    ("GET", "/health/"): 404,
    ("GET", "/poll/g"): 404,
    ("GET", "/poll/g/"): 404,
    ("GET", "/poll//1"): 404,
    ("GET", "/poll/g/1/2"): 404,
    ("GET", "/poll/g/%ff"): 404,
}


def test_unknown_route_answers_404_or_405() -> None:
    assert {route: client().request(*route).status_code for route in UNKNOWN} == UNKNOWN


def test_stream_beyond_the_limit_is_refused_and_head_opens_none() -> None:
    full = client(hub=Hub(limit=0))
    refused, answer = full.get("/poll/g/1"), full.request("HEAD", "/poll/g/1")

    assert (refused.status_code, answer.status_code) == (503, 200)
    assert "0 workers poll already" in refused.text
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_poll_is_authenticated_if_the_server_has_a_key() -> None:
    asked: list[str | None] = []

    def authenticate(authorization: str | None) -> Admission:
        asked.append(authorization)
        if authorization != "Bearer good":
            raise Refused(*((403, "Forbidden") if authorization == "Bearer weak" else (401, "Unauthorized")))
        return Admission()

    # The limit of streams is 0, so an authenticated poll answers 503.
    server = client(hub=Hub(limit=0), authenticate=authenticate)
    assert server.get("/poll/g/1").status_code == 401
    assert server.get("/poll/g/1").text == "Unauthorized"
    assert server.get("/poll/g/1", headers={"Authorization": "Bearer bad"}).status_code == 401
    weak = server.get("/poll/g/1", headers={"Authorization": "Bearer weak"})
    assert (weak.status_code, weak.text) == (403, "Forbidden")
    assert server.get("/poll/g/1", headers={"Authorization": "Bearer good"}).status_code == 503
    assert asked == [None, None, "Bearer bad", "Bearer weak", "Bearer good"]
    assert server.get("/health").status_code == 200


def test_page_may_not_call_by_default() -> None:
    assert client().request("OPTIONS", "/", headers=PREFLIGHT).status_code == 405
    answer = client().post("/", content=b"{}", headers={"Origin": "http://app.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_pages_of_listed_origins_may_call_and_poll(subtests: pytest.Subtests) -> None:
    page = "http://app.example"
    for origins, allowed in (([page, "http://b"], page), (["*"], "*"), (["http://b"], None)):
        for method, path in (("POST", "/"), ("GET", "/poll/g/1")):
            with subtests.test(path, origins=origins):
                server = client(origins=origins, hub=Hub(limit=0))
                preflight = server.request("OPTIONS", path, headers=PREFLIGHT)
                answer = server.request(method, path, headers={"Origin": page})
                assert preflight.status_code == (400 if allowed is None else 200)
                assert answer.headers.get("access-control-allow-origin") == allowed
                if allowed is not None:
                    assert preflight.headers["access-control-allow-origin"] == allowed
                    named = preflight.headers["access-control-allow-headers"].lower().split(",")
                    assert {"authorization", "content-type"} <= set(map(str.strip, named))


def asked(path: str, **headers: str) -> httpx.Response:
    """Return the response to a GET of a server with a console that answers its path."""

    async def console(scope: Any, _: Any, send: Any) -> None:
        await PlainTextResponse(f"console {scope['path']}")(scope, _, send)

    return client(hosts=(), console=lambda: console).get(path, headers=headers)


def test_console_answers_its_paths_and_a_browser_is_sent_there() -> None:
    assert [asked(path).text for path in ("/console", "/console/a?b=1")] == ["console /console", "console /console/a"]
    assert asked("/consoles", Host="localhost").status_code == 404
    sent = asked("/", Accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", Host="localhost")
    assert (sent.status_code, sent.headers["location"]) == (303, "/console")


def test_root_without_a_browser_and_without_a_console_answers_405() -> None:
    assert asked("/", Host="localhost").status_code == 405
    assert asked("/", Accept="application/json", Host="localhost").status_code == 405
    assert client().get("/", headers={"Accept": "text/html"}).status_code == 405
