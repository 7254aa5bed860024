"""What a page in a browser can and cannot do to a server without tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from resonate_infra.server.assembly import CannotServe, Options, Server
from resonate_infra.server.hub import Hub
from tests.support.server_api import Api
from tests.unit.infra.server.test_application import PREFLIGHT, Client, client
from tests.unit.infra.server.test_assembly import serving

JSON = {"Content-Type": "application/json"}
PAGE = "http://app.example"
OWN = "http://localhost:8001"


def answering(*hosts: str, **options: Any) -> Client:
    return client(hub=Hub(limit=0), hosts=hosts or ("localhost",), **options)


@pytest.mark.parametrize(
    "host", ["localhost:8001", "LOCALHOST", "127.0.0.1:9", "[::1]:8001", "my.localhost.", "127.1.2.3"]
)
def test_host_of_loopback_is_answered(host: str) -> None:
    assert answering().post("/", content=b"{}", headers={"Host": host}).status_code == 422


@pytest.mark.parametrize("host", ["evil.example:8001", "10.0.0.1", "localhost.evil.example", "localhost@evil", "[::1"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/poll/g/1"), ("GET", "/health"), ("OPTIONS", "/")]
)
def test_foreign_host_is_refused_on_every_route(host: str, method: str, path: str) -> None:
    answer = answering(origins=("*",)).request(method, path, headers={"Host": host})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("resonate:8001", "start it with --allow-host resonate"),
        ("[fd00::1]:8001", "start it with --allow-host fd00::1"),
        ("", "The Host header '' is not the name of a server: call this one at http://localhost"),
        ("[::1", "is not the name of a server"),
        ("a b", "is not the name of a server"),
        ("*", "is not the name of a server"),
    ],
)
def test_refused_host_gets_advice_that_works(host: str, advice: str) -> None:
    assert advice in answering().post("/", content=b"{}", headers={"Host": host}).text


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        (PAGE, "start the server with --cors http://app.example"),
        ("null", "serve the page over HTTP"),
        ("", "The Origin header is empty: leave it out"),
        ("chrome-extension://x", "only --cors '*' admits others"),
    ],
)
def test_refused_origin_gets_advice_that_works(origin: str, advice: str) -> None:
    headers = {"Host": "localhost:8001", "Origin": origin}
    text = answering().post("/", content=b"{}", headers=headers | JSON).text

    assert advice in text
    assert "--cors null" not in text


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        (("0.0.0.0",), "10.0.0.1:8001", 422),
        (("0.0.0.0",), "evil.example", 403),
        (("::",), "[fd00::1]:8001", 422),
        (("10.0.0.1",), "10.0.0.1", 422),
        (("10.0.0.1",), "10.0.0.2", 403),
        (("localhost", "Box"), "box:8001", 422),
        (("localhost", "*"), "any.example", 422),
    ],
)
def test_host_is_admitted_by_listening_there_or_by_name(hosts: tuple[str, ...], host: str, status: int) -> None:
    assert answering(*hosts).post("/", content=b"{}", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "origins", "refused"),
    [
        (PAGE, (), True),
        (PAGE, ("http://b",), True),
        ("null", ("http://b",), True),
        ("http://localhost:8002", (), True),
        ("http://localhost:8001.evil.example", (), True),
        (OWN, (), False),
        (PAGE, (PAGE,), False),
        (PAGE, ("*",), False),
        ("null", ("*",), False),
    ],
)
def test_foreign_origin_is_refused_on_requests_and_streams(
    origin: str, origins: tuple[str, ...], refused: bool
) -> None:
    server = answering(origins=origins)
    headers = {"Host": "localhost:8001", "Origin": origin}
    posted = server.post("/", content=b"{}", headers=headers | JSON)
    polled = server.get("/poll/g/1", headers=headers)

    assert (posted.status_code, polled.status_code) == ((403, 403) if refused else (422, 503))


@pytest.mark.parametrize(
    ("content_type", "status"), [("text/plain", 415), (None, 415), ("application/json; charset=utf-8", 422)]
)
def test_body_of_a_page_has_to_be_json(content_type: str | None, status: int) -> None:
    headers = {"Host": "localhost:8001", "Origin": OWN} | ({"Content-Type": content_type} if content_type else {})

    assert answering().post("/", content=b"{}", headers=headers).status_code == status


@pytest.mark.parametrize(("origins", "status"), [((PAGE,), 200), ((), 403)])
def test_preflight_of_a_listed_origin_passes(origins: tuple[str, ...], status: int) -> None:
    headers = PREFLIGHT | {"Host": "localhost:8001"}

    assert answering(origins=origins).request("OPTIONS", "/", headers=headers).status_code == status


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_stream_of_a_foreign_image_is_refused(site: str) -> None:
    headers = {"Host": "localhost:8001", "Sec-Fetch-Site": site}

    assert answering().get("/poll/g/1", headers=headers).status_code == 403
    assert answering(origins=("*",)).get("/poll/g/1", headers=headers).status_code == 503


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Sec-Fetch-Site": "none"}])
def test_request_without_an_origin_is_answered(headers: dict[str, str]) -> None:
    assert answering().post("/", content=b"{}", headers={"Host": "localhost:8001", **headers}).status_code == 422


CREATE = json.dumps(
    {
        "kind": "promise.create",
        "head": {"corrId": "1", "version": "2026-04-01"},
        "data": {"id": "p", "timeoutAt": 2**52, "tags": {"resonate:target": "poll://any@g"}},
    }
).encode()
FOREIGN = {"Content-Type": "text/plain", "Origin": PAGE, "Host": "evil.example"}


def create(api: Api, **headers: str) -> int:
    return api.http("POST", "/", CREATE, headers)[0]


def test_development_server_is_not_driven_by_a_page() -> None:
    with serving(url="http://box:8001", allowed_hosts=("pet",), origins=(PAGE,)) as api:
        assert create(api, **FOREIGN) == 403
        assert create(api, Origin=f"http://localhost:{api.port}") == 415
        api.ask("promise.get", 404, id="p")
        assert create(api, Origin=PAGE, **JSON) == 200
        assert [create(api, Host=host) for host in ("box", "pet:1", "127.0.0.1")] == [200] * 3


@pytest.mark.parametrize(("key", "status"), [("none", 403), (None, 403), ("public key", 401)])
def test_only_tokens_that_are_verified_admit_any_page(key: str | None, status: int) -> None:
    if key == "public key":
        public = Ed25519PrivateKey.generate().public_key()
        key = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with serving(auth_key=key) as api:
        assert create(api, **FOREIGN) == status


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("resonate:8001", "resonate:8001"),
        (" Resonate. ", "resonate"),
        ("my_service", "my_service:9"),
        ("fd00::1", "[fd00::1]:8001"),
        ("[FD00::1]", "[fd00::1]"),
        ("*", "any.example"),
    ],
)
def test_allowed_host_is_answered(allowed: str, host: str) -> None:
    with serving(allowed_hosts=(allowed,)) as api:
        assert create(api, Host=host) == 200


@pytest.mark.parametrize("allowed", ["http://foo:3", "*.foo", "foo/", "", "foo:port", "a b", "b\u00fccher.example"])
def test_allowed_host_that_can_never_match_is_refused(allowed: str) -> None:
    with pytest.raises(CannotServe, match=r"--allow-host names .* without scheme, path or wildcard"):
        Server(Options(port=0, allowed_hosts=(allowed,)))


def test_url_that_is_malformed_is_refused() -> None:
    with pytest.raises(CannotServe, match="the url 'http://\\[x' is not an address"):
        Server(Options(port=0, url="http://[x"))
