"""Valid tokens, and the ids that each of them permits."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from resonate_infra.authentication import LEEWAY_MS, Authentication
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.forms import DATA
from resonate_store.protocol.service import Service
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
"""Status of a permitted read of a promise that does not exist."""


ALGORITHMS = {
    "rsa": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "p256": ("ES256",),
    "p384": ("ES384",),
    "p521": ("ES512",),
    "ed25519": ("EdDSA",),
}


def test_key_selects_the_accepted_algorithms(subtests: pytest.Subtests) -> None:
    tokens = {each: token(each, kind) for kind, algorithms in ALGORITHMS.items() for each in algorithms}
    for kind, accepted in ALGORITHMS.items():
        guarded = service(public_key=public(kind))
        with subtests.test(kind):
            assert {each: status(guarded, auth) for each, auth in tokens.items()} == {
                each: ADMITTED if each in accepted else 401 for each in tokens
            }


FORGED = {"exp": NOW + 3600, "prefix": "", "aud": "api"}
"""Claims that would permit every id."""


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], signature: str = "") -> str:
    return f"{part(header)}.{part(FORGED)}.{signature}"


def confused() -> str:
    """Return a token that is signed with the public key, as if that were a shared secret."""
    import hashlib
    import hmac

    signed = forged({"alg": "HS256", "typ": "JWT"}).rstrip(".")
    digest = hmac.new(public("rsa").encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def tampered() -> str:
    header, _, signature = token().split(".")
    return f"{header}.{part(FORGED)}.{signature}"


def test_token_times_are_checked_with_leeway() -> None:
    assert LEEWAY_MS == 60_000, "docs/security.md names it"
    assert status(service(), token(exp=NOW - LEEWAY_MS // 1000 + 1)) == ADMITTED
    assert status(service(), token(nbf=NOW + LEEWAY_MS // 1000)) == ADMITTED


def test_token_expires_on_the_injected_clock() -> None:
    clock, auth = ManualClock(), token()
    guarded = service(clock=clock)
    assert status(guarded, auth) == ADMITTED
    clock.advance(3600_000 + LEEWAY_MS)
    assert status(guarded, auth) == 401


ISSUER_AND_AUDIENCE: list[tuple[dict[str, Any], int]] = [
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
]


def test_issuer_and_audience_are_checked_if_configured(subtests: pytest.Subtests) -> None:
    for claims, expected in ISSUER_AND_AUDIENCE:
        # PyJWT refuses to write some of these claims.
        payload = json.dumps({"exp": NOW + 3600, "prefix": "t1.", **claims}).encode()
        signed = jwt.PyJWS().encode(payload, private("rsa"), "RS256")
        with subtests.test(claims=claims):
            assert status(service(issuer="us", audience="api"), signed) == expected
            assert status(service(), signed) == ADMITTED


PERMISSIONS: list[tuple[dict[str, Any], int, int]] = [
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
]


def test_role_or_prefix_permits_ids(subtests: pytest.Subtests) -> None:
    for claims, own, foreign in PERMISSIONS:
        with subtests.test(claims=claims):
            assert status(service(), token(**claims), "t1.x") == own
            assert status(service(), token(**claims), "t2.x") == foreign


def action(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "head": {}, "data": data}


def suspend(id: str, *awaited: str) -> dict[str, Any]:
    callbacks = [action("promise.register_callback", {"awaited": each, "awaiter": id}) for each in awaited]
    return {"id": id, "version": 1, "actions": callbacks}


def schedule(id: str, promise: str) -> dict[str, Any]:
    return {"id": id, "cron": "* * * * *", "promiseId": promise, "promiseTimeout": 1, "promiseTags": TARGET}


def placed(id: str, **lineage: str) -> dict[str, Any]:
    return {"id": id, "timeoutAt": LATER, "tags": TARGET | {f"resonate:{name}": to for name, to in lineage.items()}}


def finished(id: str, **lineage: str) -> dict[str, Any]:
    tags = {"resonate:scope": "local"} | {f"resonate:{name}": to for name, to in lineage.items()}
    return {"id": id, "timeoutAt": LATER, "createdAt": 0, "state": "resolved", "tags": tags}


def fork(id: str, **tags: str) -> dict[str, Any]:
    target = {"resonate:target": "poll://any@g", "resonate:forked-from": "x"}
    return {"id": id, "timeoutAt": 1, "tags": {**target, **tags}}


def copy(id: str, **tags: str) -> dict[str, Any]:
    instants = {"timeoutAt": 1, "createdAt": 1, "settledAt": 1}
    lineage = {"resonate:origin": id, **tags}
    return {"id": f"{id}.1", "state": "resolved", "param": {}, "value": {}, "tags": lineage, **instants}


FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("promise.create", placed("t1.a", origin="t2.a")),
    ("promise.create", placed("t1.a", parent="t2.a")),
    ("promise.create", placed("t1.a", branch="t2.a")),
    ("promise.create", placed("t1.a", prefix="t2.a")),
    ("task.create", {"pid": "p", "ttl": 1, "action": action("promise.create", placed("t1.a", origin="t2.a"))}),
    ("task.fence", {"id": "t1.a", "version": 1, "action": action("promise.create", placed("t1.b", origin="t2.b"))}),
    ("promise.get", {"id": "t2.a"}),
    ("promise.create", placed("t2.a")),
    ("promise.cancel", {"id": "t2.x"}),
    ("promise.settle", {"id": "t2.a", "state": "resolved"}),
    ("promise.register_callback", {"awaited": "t2.a", "awaiter": "t1.a"}),
    ("promise.register_callback", {"awaited": "t1.a", "awaiter": "t2.a"}),
    ("promise.register_listener", {"awaited": "t2.a", "address": "https://example.com/"}),
    ("promise.search", {"id": "t2."}),
    ("promise.search", {"id": ""}),
    ("task.get", {"id": "t2.a"}),
    ("task.create", {"pid": "p", "ttl": 1, "action": action("promise.create", placed("t2.a"))}),
    ("task.acquire", {"id": "t2.a", "version": 0, "pid": "p", "ttl": 1}),
    ("task.release", {"id": "t2.a", "version": 1}),
    ("task.fulfill", {"id": "t2.a", "version": 1, "action": action("", {"id": "t2.a", "state": "resolved"})}),
    ("task.fulfill", {"id": "t1.a", "version": 1, "action": action("", {"id": "t2.a", "state": "resolved"})}),
    ("task.suspend", suspend("t2.a", "t1.b")),
    ("task.suspend", suspend("t1.a", "t1.b", "t2.a")),
    ("task.fence", {"id": "t2.a", "version": 1, "action": action("promise.create", placed("t1.b"))}),
    ("task.fence", {"id": "t1.a", "version": 1, "action": action("promise.create", placed("t2.a"))}),
    (
        "task.fence",
        {"id": "t1.a", "version": 1, "action": action("promise.settle", {"id": "t2.a", "state": "resolved"})},
    ),
    ("task.continue_as", {"id": "t2.a", "version": 1, "generation": 2}),
    ("task.repin", {"id": "t2.a"}),
    ("task.record", {"id": "t2.a", "version": 1, "action": action("promise.record", finished("t1.b"))}),
    ("task.record", {"id": "t1.a", "version": 1, "action": action("promise.record", finished("t2.a"))}),
    ("task.record", {"id": "t1.a", "version": 1, "action": action("promise.record", finished("t1.b", origin="t2.b"))}),
    ("task.fork", fork("t2.a")),
    ("task.fork", fork("t1.a", **{"resonate:origin": "t2.a"})),
    ("task.fork", fork("t1.a", **{"resonate:key-stem": "t2.a"})),
    ("task.copy", {"id": "t2.a", "promise": copy("t1.a")}),
    ("task.copy", {"id": "t1.a", "promise": copy("t2.a")}),
    ("task.copy", {"id": "t1.a", "promise": copy("t1.a", **{"resonate:parent": "t2.a"})}),
    ("message.send", {"id": "t2.a", "name": "m", "key": "k"}),
    ("task.receive", {"id": "t2.a", "version": 1, "message": "t2.a.m", "name": "m", "place": "t2.a.1"}),
    ("task.receive", {"id": "t1.a", "version": 1, "message": "t2.a.m", "name": "m", "place": "t1.a.1"}),
    ("task.publish", {"id": "t2.a", "version": 1, "place": "t2.a.1", "key": "k", "timeoutAt": 1, "tags": {}}),
    (
        "task.publish",
        {
            "id": "t1.a",
            "version": 1,
            "place": "t1.a.1",
            "key": "k",
            "timeoutAt": 1,
            "tags": {"resonate:origin": "t2.a"},
        },
    ),
    ("task.heartbeat", {"pid": "p", "tasks": [{"id": "t1.a", "version": 1}, {"id": "t2.a", "version": 1}]}),
    ("task.halt", {"id": "t2.a"}),
    ("task.continue", {"id": "t2.a"}),
    ("task.search", {}),
    ("execution.search", {}),
    ("execution.search", {"id": "t2."}),
    ("execution.search", {"id": ""}),
    ("execution.get", {"id": "t2.a"}),
    ("execution.count", {}),
    ("execution.retry", {"id": "t2.a"}),
    ("execution.delete", {"id": "t2.a"}),
    ("schedule.get", {"id": "t2.a"}),
    ("schedule.create", schedule("t1.a", "t2.{{.id}}")),
    ("schedule.create", schedule("t2.a", "t1.{{.id}}")),
    ("schedule.create", schedule("t2.a", "{{.id}}.{{.timestamp}}")),
    ("schedule.delete", {"id": "t2.a"}),
    ("schedule.update", schedule("t1.a", "t2.{{.id}}")),
    ("schedule.update", schedule("t2.a", "t1.{{.id}}")),
    ("schedule.backfill", {"id": "t2.a", "fromAt": 1, "toAt": 2}),
    ("schedule.pause", {"id": "t2.a"}),
    ("schedule.resume", {"id": "t2.a"}),
    ("schedule.trigger", {"id": "t2.a"}),
    ("schedule.search", {}),
    ("debug.snap", {}),
    ("nothing", {"id": "t1.a"}),
]


INVALID: dict[str, Any] = {
    "missing": None,
    "empty": "",
    "nonsense": "nonsense",
    "not a token": "a.b.c",
    "not ASCII": "é.é.é",
    "bearer": lambda: "Bearer " + token(),
    "wrong key": lambda: token(kind="other"),
    "wrong algorithm": lambda: token("ES256", "p256"),
    "tampered": tampered,
    "cut": lambda: token()[:-8],
    "unsigned": lambda: forged({"alg": "none"}),
    "unsigned, in capitals": lambda: forged({"alg": "NONE", "typ": "JWT"}, "AAAA"),
    "algorithm confusion": confused,
    "expired": lambda: token(exp=NOW - LEEWAY_MS // 1000),
    "without expiry": lambda: token(exp=None),
    "expiry is text": lambda: token(exp="tomorrow"),
    "expiry is a boolean": lambda: token(exp=True),
    "expiry is infinite": lambda: token(exp=math.inf),
    "expiry is not a number": lambda: token(exp=math.nan),
    "beginning is infinite": lambda: token(nbf=-math.inf),
    "not valid yet": lambda: token(nbf=NOW + LEEWAY_MS // 1000 + 1),
}


def test_invalid_token_is_refused_for_each_kind(subtests: pytest.Subtests) -> None:
    guarded = service()
    for name, auth in INVALID.items():
        refused = auth() if callable(auth) else auth
        with subtests.test(name):
            for kind, data in FOREIGN:
                answer = ask(guarded, kind, data, auth=refused)
                assert (answer.status, answer.data) == (401, "Unauthorized"), kind


def test_tenant_is_refused_ids_of_another_tenant(subtests: pytest.Subtests) -> None:
    assert DATA.keys() <= {kind for kind, _ in FOREIGN}
    for kind, data in FOREIGN:
        with subtests.test(kind, data=data):
            answer = ask(service(), kind, data, auth=token())
            assert (answer.status, answer.data) == (403, "Forbidden")


def test_tenant_is_permitted_own_ids_and_admin_all_ids(subtests: pytest.Subtests) -> None:
    for kind, data in FOREIGN:
        if kind in DATA:
            with subtests.test(kind, data=data):
                assert ask(service(), kind, data, auth=token(role="admin")).status not in (401, 403)
                if not kind.endswith((".search", ".count")):
                    own = json.loads(json.dumps(data).replace("t2.", "t1.").replace('"{{.id}}"', '"t1.x"'))
                    assert ask(service(), kind, own, auth=token()).status not in (401, 403)


def test_tenant_lists_executions_of_its_own_prefix() -> None:
    guarded = service()
    for tenant in ("t1.", "t2."):
        assert ask(guarded, "promise.create", placed(f"{tenant}a"), auth=token(role="admin")).status == 200

    found = ask(guarded, "execution.search", {"id": "t1."}, auth=token())
    assert (found.status, [each["promise"]["id"] for each in found.data["executions"]]) == (200, ["t1.a"])


OWN_LINEAGE = {
    "of a root": placed("t1.a", origin="t1.a", parent="t1.a", branch="t1.a", prefix="t1.a"),
    "of a child": placed("t1.a.2.1", origin="t1.a", parent="t1.a.2", branch="t1.a.2.1", prefix="t1.a"),
    "with a derived id": placed("t1.a:d0123456789abcdef", origin="t1.a", parent="t1.a:2", prefix="t1.a"),
    "with an id of its own": placed("t1.report", origin="t1.a", parent="t1.a.1"),
    "with a dotted prefix of its id": placed("t1.a", origin="t1"),
}


def test_lineage_within_the_token_prefix_is_admitted(subtests: pytest.Subtests) -> None:
    for case, promise in OWN_LINEAGE.items():
        with subtests.test(case):
            assert ask(service(), "promise.create", promise, auth=token()).status == 200


def test_unverified_tokens_are_accepted_in_development_only() -> None:
    with pytest.raises(SettingsError, match="development only"):
        service(public_key="none")

    unverified = service(public_key="none", development=True, audience="api")
    assert status(unverified, token(kind="other", aud=["api"])) == ADMITTED
    assert status(unverified, token(aud=["other"])) == 401
    assert status(unverified, token(aud=["api"], exp=NOW - 3600)) == 401
    assert status(unverified, token(aud=["api"]), "t2.x") == 403
    assert status(unverified, None) == 401


def test_unusable_public_key_is_refused(subtests: pytest.Subtests) -> None:
    secret = private("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for key, message in (
        ("", "no public key in PEM"),
        ("secret", "no public key in PEM"),
        (public("short"), "1024 bits: 2048 are the least"),
        (public("dsa"), "DSAPublicKey"),
        (public("k1"), "P-256"),
        (secret, "no public key in PEM"),
    ):
        with subtests.test(message), pytest.raises(SettingsError, match=message):
            service(public_key=key)


def test_public_key_with_escaped_line_breaks_is_read() -> None:
    assert status(service(public_key=public("rsa").replace("\n", "\\n")), token()) == ADMITTED
