"""Requests of web pages to a server without tokens."""

from __future__ import annotations

from typing import Any

import pytest

from resonate_infra.server.assembly import CannotServe, Server, ServerOptions
from resonate_infra.server.hub import Hub
from tests.support.application import PREFLIGHT, Client, client
from tests.support.envelopes import envelope
from tests.support.server_api import Api, serving
from tests.support.tokens import public

JSON = {"Content-Type": "application/json"}
PAGE = "http://app.example"
OWN = "http://localhost:8001"


def answering(*hosts: str, **options: Any) -> Client:
    return client(hub=Hub(limit=0), hosts=hosts or ("localhost",), **options)


HOSTS = {
    ("localhost",): {
        **dict.fromkeys(
            ("localhost:8001", "LOCALHOST", "127.0.0.1:9", "[::1]:8001", "my.localhost.", "127.1.2.3"), 422
        ),
        **dict.fromkeys(("evil.example:8001", "10.0.0.1", "localhost.evil.example", "localhost@evil", "[::1"), 403),
    },
    ("0.0.0.0",): {"10.0.0.1:8001": 422, "evil.example": 403},
    ("::",): {"[fd00::1]:8001": 422},
    ("10.0.0.1",): {"10.0.0.1": 422, "10.0.0.2": 403},
    ("localhost", "Box"): {"box:8001": 422},
    ("localhost", "*"): {"any.example": 422},
}


def test_host_is_admitted_if_the_server_has_it(subtests: pytest.Subtests) -> None:
    for hosts, expected in HOSTS.items():
        with subtests.test(hosts=hosts):
            server = answering(*hosts)
            statuses = {host: server.post("/", content=b"{}", headers={"Host": host}).status_code for host in expected}
            assert statuses == expected


def test_foreign_host_is_refused_on_each_route(subtests: pytest.Subtests) -> None:
    server = answering(origins=("*",))
    routes = [("POST", "/"), ("GET", "/poll/g/1"), ("GET", "/health"), ("OPTIONS", "/")]
    for host in [host for host, status in HOSTS["localhost",].items() if status == 403]:
        with subtests.test(host):
            headers = {"Host": host}
            assert [server.request(*route, headers=headers).status_code for route in routes] == [403] * 4


HOST_ADVICE = {
    "resonate:8001": "start it with --allow-host resonate",
    "[fd00::1]:8001": "start it with --allow-host fd00::1",
    "": "The Host header '' is not the name of a server: call this one at http://localhost",
    "[::1": "is not the name of a server",
    "a b": "is not the name of a server",
    "*": "is not the name of a server",
}
ORIGIN_ADVICE = {
    PAGE: "start the server with --cors http://app.example",
    "null": "serve the page over HTTP",
    "": "The Origin header is empty: leave it out",
    "chrome-extension://x": "only --cors '*' admits others",
}


def test_refused_host_or_origin_gets_advice_that_works(subtests: pytest.Subtests) -> None:
    hosts = [({"Host": host}, advice) for host, advice in HOST_ADVICE.items()]
    origins = [({"Host": "localhost", "Origin": origin}, advice) for origin, advice in ORIGIN_ADVICE.items()]
    for headers, advice in hosts + origins:
        with subtests.test(headers=headers):
            text = answering().post("/", content=b"{}", headers=headers | JSON).text
            assert advice in text
            assert "--cors null" not in text


ORIGINS: dict[tuple[str, tuple[str, ...]], bool] = {
    (PAGE, ()): False,
    (PAGE, ("http://b",)): False,
    ("null", ("http://b",)): False,
    ("http://localhost:8002", ()): False,
    ("http://localhost:8001.evil.example", ()): False,
    (OWN, ()): True,
    (PAGE, (PAGE,)): True,
    (PAGE, ("*",)): True,
    ("null", ("*",)): True,
}


def test_foreign_origin_is_refused_on_requests_and_streams(subtests: pytest.Subtests) -> None:
    for (origin, origins), admitted in ORIGINS.items():
        server = answering(origins=origins)
        headers = {"Host": "localhost:8001", "Origin": origin}
        with subtests.test(origin, origins=origins):
            posted = server.post("/", content=b"{}", headers=headers | JSON)
            polled = server.get("/poll/g/1", headers=headers)
            assert (posted.status_code, polled.status_code) == ((422, 503) if admitted else (403, 403))


def test_body_of_a_page_must_be_json() -> None:
    def status(**content_type: str) -> int:
        headers = {"Host": "localhost:8001", "Origin": OWN} | content_type
        return answering().post("/", content=b"{}", headers=headers).status_code

    assert status() == 415
    assert status(**{"Content-Type": "text/plain"}) == 415
    assert status(**{"Content-Type": "application/json; charset=utf-8"}) == 422


def test_preflight_passes_for_a_listed_origin_only() -> None:
    headers = PREFLIGHT | {"Host": "localhost:8001"}

    assert answering(origins=(PAGE,)).request("OPTIONS", "/", headers=headers).status_code == 200
    assert answering().request("OPTIONS", "/", headers=headers).status_code == 403


def test_stream_of_a_foreign_image_is_refused() -> None:
    for site in ("cross-site", "same-site"):
        headers = {"Host": "localhost:8001", "Sec-Fetch-Site": site}
        assert answering().get("/poll/g/1", headers=headers).status_code == 403
        assert answering(origins=("*",)).get("/poll/g/1", headers=headers).status_code == 503


def test_request_without_origin_is_answered() -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Sec-Fetch-Site": "none"}):
        assert answering().post("/", content=b"{}", headers={"Host": "localhost:8001", **headers}).status_code == 422


CREATE = envelope("promise.create", {"id": "p", "timeoutAt": 2**52, "tags": {"resonate:target": "poll://any@g"}})
FOREIGN = {"Content-Type": "text/plain", "Origin": PAGE, "Host": "evil.example"}


def create(api: Api, **headers: str) -> int:
    return api.http("POST", "/", CREATE, headers)[0]


def test_development_server_refuses_requests_of_pages() -> None:
    with serving(url="http://box:8001", allowed_hosts=("pet",), origins=(PAGE,)) as api:
        assert create(api, **FOREIGN) == 403
        assert create(api, Origin=f"http://localhost:{api.port}") == 415
        api.ask("promise.get", 404, id="p")
        assert create(api, Origin=PAGE, **JSON) == 200
        assert [create(api, Host=host) for host in ("box", "pet:1", "127.0.0.1")] == [200] * 3


def test_server_with_verified_tokens_admits_any_page() -> None:
    for auth_key, status in (("none", 403), (None, 403), (public("ed25519"), 401)):
        with serving(auth_key=auth_key) as api:
            assert create(api, **FOREIGN) == status


ALLOWED = {
    "resonate:8001": "resonate:8001",
    " Shop. ": "shop",
    "my_service": "my_service:9",
    "fd00::1": "[fd00::1]:8001",
    "[FD00::2]": "[fd00::2]",
}


def test_allowed_host_is_answered() -> None:
    with serving(allowed_hosts=tuple(ALLOWED)) as api:
        assert {host: create(api, Host=host) for host in ALLOWED.values()} == dict.fromkeys(ALLOWED.values(), 200)
        assert create(api, Host="any.example") == 403
    with serving(allowed_hosts=("*",)) as api:
        assert create(api, Host="any.example") == 200


def test_allowed_host_that_can_never_match_is_refused(subtests: pytest.Subtests) -> None:
    for allowed in ("http://foo:3", "*.foo", "foo/", "", "foo:port", "a b", "b\u00fccher.example"):
        with (
            subtests.test(allowed),
            pytest.raises(CannotServe, match=r"--allow-host names .* without scheme, path or wildcard"),
        ):
            Server(ServerOptions(port=0, allowed_hosts=(allowed,)))


def test_malformed_server_url_is_refused() -> None:
    with pytest.raises(CannotServe, match="the url 'http://\\[x' is not an address"):
        Server(ServerOptions(port=0, url="http://[x"))
