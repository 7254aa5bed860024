"""Who is let in, and to which ids."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from resonate_infra.authentication import LEEWAY_MS, Authentication
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import DATA
from resonate_store.settings import SettingsError
from tests.support.envelopes import LATER, TARGET, ask
from tests.support.tokens import NOW, private, public, token


def service(**arguments: Any) -> Service:
    clock = ManualClock()
    guard = Authentication(**{"public_key": public("rsa"), "clock": clock, **arguments})
    return Service(MemoryStore(clock=clock), guard=guard)


def status(service: Service, auth: str | None, id: str = "t1.x") -> int:
    return ask(service, "promise.get", {"id": id}, auth=auth).status


ADMITTED = 404
"""What whoever is let in gets for a promise that does not exist."""


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        *[("rsa", algorithm) for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("p521", "ES512"),
        ("ed25519", "EdDSA"),
    ],
)
def test_the_key_says_which_algorithms_count(kind: str, algorithm: str) -> None:
    guarded = service(public_key=public(kind))

    assert status(guarded, token(algorithm, kind)) == ADMITTED
    others = ("RS256", "rsa"), ("ES256", "p256"), ("ES384", "p384"), ("ES512", "p521"), ("EdDSA", "ed25519")
    for other, foreign in others:
        if foreign != kind:
            assert status(guarded, token(other, foreign)) == 401


FORGED = {"exp": NOW + 3600, "prefix": "", "aud": "api"}
"""Claims that would let everybody in everywhere."""


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], signature: str = "") -> str:
    return f"{part(header)}.{part(FORGED)}.{signature}"


def confused() -> str:
    """Signed with the public key, as if that were a shared secret."""
    import hashlib
    import hmac

    signed = forged({"alg": "HS256", "typ": "JWT"}).rstrip(".")
    digest = hmac.new(public("rsa").encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def tampered() -> str:
    header, _, signature = token().split(".")
    return f"{header}.{part(FORGED)}.{signature}"


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("nonsense", id="nonsense"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("é.é.é", id="not ASCII"),
        pytest.param(lambda: "Bearer " + token(), id="bearer"),
        pytest.param(lambda: token(kind="other"), id="wrong key"),
        pytest.param(tampered, id="tampered"),
        pytest.param(lambda: token()[:-8], id="cut"),
        pytest.param(lambda: forged({"alg": "none"}), id="unsigned"),
        pytest.param(lambda: forged({"alg": "NONE", "typ": "JWT"}, "AAAA"), id="unsigned, loudly"),
        pytest.param(confused, id="algorithm confusion"),
        pytest.param(lambda: token(exp=NOW - LEEWAY_MS // 1000), id="expired"),
        pytest.param(lambda: token(exp=None), id="without expiry"),
        pytest.param(lambda: token(exp="tomorrow"), id="expiry that is none"),
        pytest.param(lambda: token(exp=True), id="expiry that is none either"),
        pytest.param(lambda: token(exp=math.inf), id="expiry that never comes"),
        pytest.param(lambda: token(exp=math.nan), id="expiry that is not a number"),
        pytest.param(lambda: token(nbf=-math.inf), id="beginning that is none"),
        pytest.param(lambda: token(nbf=NOW + LEEWAY_MS // 1000 + 1), id="not valid yet"),
    ],
)
def test_what_is_no_valid_token_is_refused(auth: Any) -> None:
    answer = ask(service(), "promise.get", {"id": "t1.x"}, auth=auth() if callable(auth) else auth)

    assert (answer.status, answer.data) == (401, "Unauthorized")


def test_clocks_may_differ_a_little() -> None:
    assert LEEWAY_MS == 60_000, "docs/security.md names it"
    assert status(service(), token(exp=NOW - LEEWAY_MS // 1000 + 1)) == ADMITTED
    assert status(service(), token(nbf=NOW + LEEWAY_MS // 1000)) == ADMITTED


def test_a_token_expires_on_the_clock_that_was_given() -> None:
    clock = ManualClock()
    guarded = Service(MemoryStore(clock=clock), guard=Authentication(public_key=public("rsa"), clock=clock))
    auth = token()
    assert status(guarded, auth) == ADMITTED
    clock.advance(3600_000 + LEEWAY_MS)
    assert status(guarded, auth) == 401


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "us", "aud": ["api"]}, ADMITTED),
        ({"iss": "us", "aud": ["other", "api"]}, ADMITTED),
        ({"iss": "us", "aud": "api"}, ADMITTED),
        ({"iss": "them", "aud": ["api"]}, 401),
        ({"iss": "us", "aud": ["other"]}, 401),
        ({"iss": "us", "aud": []}, 401),
        ({"iss": "us", "aud": 7}, 401),
        ({"iss": 7, "aud": ["api"]}, 401),
        ({"iss": "us"}, 401),
        ({"aud": ["api"]}, 401),
    ],
)
def test_issuer_and_audience_count_when_they_are_configured(claims: dict[str, Any], expected: int) -> None:
    assert status(service(issuer="us", audience="api"), _raw(claims)) == expected
    assert status(service(), _raw(claims)) == ADMITTED


def _raw(claims: dict[str, Any]) -> str:
    """PyJWT refuses to write some of them."""
    payload = json.dumps({"exp": NOW + 3600, "prefix": "t1.", **claims}).encode()
    return jwt.PyJWS().encode(payload, private("rsa"), "RS256")


@pytest.mark.parametrize(
    ("claims", "own", "foreign"),
    [
        ({"prefix": "t1."}, ADMITTED, 403),
        ({"prefix": "t1"}, ADMITTED, 403),
        ({"prefix": ""}, ADMITTED, ADMITTED),
        ({"prefix": None, "role": "admin"}, ADMITTED, ADMITTED),
        ({"prefix": "x", "role": "ADMIN"}, ADMITTED, ADMITTED),
        ({"prefix": None, "role": "user"}, 403, 403),
        ({"prefix": None, "role": ["admin"]}, 403, 403),
        ({"prefix": None}, 403, 403),
        ({"prefix": 7}, 403, 403),
        ({"prefix": ["t1."]}, 403, 403),
    ],
)
def test_a_role_or_a_prefix_says_what_is_allowed(claims: dict[str, Any], own: int, foreign: int) -> None:
    assert status(service(), token(**claims), "t1.x") == own
    assert status(service(), token(**claims), "t2.x") == foreign


def action(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "head": {}, "data": data}


def create(id: str) -> dict[str, Any]:
    return {"id": id, "timeoutAt": LATER, "tags": TARGET}


def suspend(id: str, *awaited: str) -> dict[str, Any]:
    callbacks = [action("promise.register_callback", {"awaited": each, "awaiter": id}) for each in awaited]
    return {"id": id, "version": 1, "actions": callbacks}


def schedule(id: str, promise: str) -> dict[str, Any]:
    return {"id": id, "cron": "* * * * *", "promiseId": promise, "promiseTimeout": 1, "promiseTags": TARGET}


def placed(id: str, **lineage: str) -> dict[str, Any]:
    return {"id": id, "timeoutAt": LATER, "tags": TARGET | {f"resonate:{name}": to for name, to in lineage.items()}}


FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("promise.create", placed("t1.a", origin="t2.a")),
    ("promise.create", placed("t1.a", parent="t2.a")),
    ("promise.create", placed("t1.a", branch="t2.a")),
    ("promise.create", placed("t1.a", prefix="t2.a")),
    ("task.create", {"pid": "p", "ttl": 1, "action": action("promise.create", placed("t1.a", origin="t2.a"))}),
    ("task.fence", {"id": "t1.a", "version": 1, "action": action("promise.create", placed("t1.b", origin="t2.b"))}),
    ("promise.get", {"id": "t2.a"}),
    ("promise.create", create("t2.a")),
    ("promise.settle", {"id": "t2.a", "state": "resolved"}),
    ("promise.register_callback", {"awaited": "t2.a", "awaiter": "t1.a"}),
    ("promise.register_callback", {"awaited": "t1.a", "awaiter": "t2.a"}),
    ("promise.register_listener", {"awaited": "t2.a", "address": "https://example.com/"}),
    ("promise.search", {"id": "t1."}),
    ("task.get", {"id": "t2.a"}),
    ("task.create", {"pid": "p", "ttl": 1, "action": action("promise.create", create("t2.a"))}),
    ("task.acquire", {"id": "t2.a", "version": 0, "pid": "p", "ttl": 1}),
    ("task.release", {"id": "t2.a", "version": 1}),
    ("task.fulfill", {"id": "t2.a", "version": 1, "action": action("", {"id": "t2.a", "state": "resolved"})}),
    ("task.fulfill", {"id": "t1.a", "version": 1, "action": action("", {"id": "t2.a", "state": "resolved"})}),
    ("task.suspend", suspend("t2.a", "t1.b")),
    ("task.suspend", suspend("t1.a", "t1.b", "t2.a")),
    ("task.fence", {"id": "t2.a", "version": 1, "action": action("promise.create", create("t1.b"))}),
    ("task.fence", {"id": "t1.a", "version": 1, "action": action("promise.create", create("t2.a"))}),
    (
        "task.fence",
        {"id": "t1.a", "version": 1, "action": action("promise.settle", {"id": "t2.a", "state": "resolved"})},
    ),
    ("task.heartbeat", {"pid": "p", "tasks": [{"id": "t1.a", "version": 1}, {"id": "t2.a", "version": 1}]}),
    ("task.halt", {"id": "t2.a"}),
    ("task.continue", {"id": "t2.a"}),
    ("task.search", {}),
    ("schedule.get", {"id": "t2.a"}),
    ("schedule.create", schedule("t1.a", "t2.{{.id}}")),
    ("schedule.create", schedule("t2.a", "t1.{{.id}}")),
    ("schedule.create", schedule("t2.a", "{{.id}}.{{.timestamp}}")),
    ("schedule.delete", {"id": "t2.a"}),
    ("schedule.pause", {"id": "t2.a"}),
    ("schedule.resume", {"id": "t2.a"}),
    ("schedule.trigger", {"id": "t2.a"}),
    ("schedule.search", {}),
    ("debug.snap", {}),
    ("nothing", {"id": "t1.a"}),
]


@pytest.mark.parametrize(("kind", "data"), FOREIGN)
def test_what_touches_the_ids_of_another_tenant_is_refused(kind: str, data: dict[str, Any]) -> None:
    answer = ask(service(), kind, data, auth=token())

    assert (answer.status, answer.data) == (403, "Forbidden")


@pytest.mark.parametrize(
    "promise",
    [
        placed("t1.a", origin="t1.a", parent="t1.a", branch="t1.a", prefix="t1.a"),
        placed("t1.a.2.1", origin="t1.a", parent="t1.a.2", branch="t1.a.2.1", prefix="t1.a"),
        placed("t1.a:d0123456789abcdef", origin="t1.a", parent="t1.a:2", prefix="t1.a"),
        placed("t1.report", origin="t1.a", parent="t1.a.1"),  # a call that was given an id
        placed("t1.a", origin="t1"),  # a dotted prefix of its own id
    ],
)
def test_lineage_within_the_prefix_of_a_token_is_admitted(promise: dict[str, Any]) -> None:
    assert ask(service(), "promise.create", promise, auth=token()).status == 200


REFUSED: dict[str, Callable[[], str | None]] = {
    "missing": lambda: None,
    "expired": lambda: token(exp=NOW - LEEWAY_MS // 1000, aud="api"),
    "tampered": tampered,
    "wrong key": lambda: token(kind="other", aud="api"),
    "wrong algorithm": lambda: token("ES256", "p256", aud="api"),
    "algorithm confusion": confused,
    "unsigned": lambda: forged({"alg": "none"}),
    "wrong audience": lambda: token(aud="others"),
}


@pytest.mark.parametrize("auth", REFUSED.values(), ids=REFUSED)
def test_without_a_valid_token_nothing_is_told_about_anything(auth: Callable[[], str | None]) -> None:
    guarded, refused = service(audience="api"), auth()
    for kind, data in FOREIGN:
        answer = ask(guarded, kind, data, auth=refused)
        assert (answer.status, answer.data) == (401, "Unauthorized"), kind


def test_the_token_that_those_are_a_little_different_from_is_valid() -> None:
    guarded = service(audience="api")
    for kind, data in FOREIGN:
        assert ask(guarded, kind, data, auth=token(aud="api")).status == 403, kind


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, data in FOREIGN if kind in DATA])
def test_the_same_is_allowed_to_an_admin_and_to_the_tenant(kind: str, data: dict[str, Any]) -> None:
    assert ask(service(), kind, data, auth=token(role="admin")).status not in (401, 403)
    if not kind.endswith(".search"):
        own = json.loads(json.dumps(data).replace("t2.", "t1.").replace('"{{.id}}"', '"t1.x"'))
        assert ask(service(), kind, own, auth=token()).status not in (401, 403)


def test_every_kind_is_tried() -> None:
    assert DATA.keys() <= {kind for kind, _ in FOREIGN}


def test_no_verification_is_for_development_only() -> None:
    with pytest.raises(SettingsError, match="development only"):
        service(public_key="none")

    open_house = service(public_key="none", development=True, audience="api")
    assert status(open_house, token(kind="other", aud=["api"])) == ADMITTED
    assert status(open_house, token(aud=["other"])) == 401
    assert status(open_house, token(aud=["api"], exp=NOW - 3600)) == 401
    assert status(open_house, token(aud=["api"]), "t2.x") == 403
    assert status(open_house, None) == 401


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "no public key in PEM"),
        ("secret", "no public key in PEM"),
        (lambda: public("short"), "1024 bits: 2048 are the least"),
        (lambda: public("dsa"), "DSAPublicKey"),
        (lambda: public("k1"), "P-256"),
        (
            lambda: private("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "no public key in PEM",
        ),
    ],
)
def test_a_key_that_will_not_do_is_refused_by_name(key: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        service(public_key=key() if callable(key) else key)


def test_a_key_whose_line_breaks_were_escaped_is_read() -> None:
    assert status(service(public_key=public("rsa").replace("\n", "\\n")), token()) == ADMITTED
