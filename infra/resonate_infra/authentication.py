"""Who makes a request, and which ids are theirs: JSON Web Tokens and prefixes (docs/protocol.md 2.6).

A token is signed by the one key whose public half the server knows. The algorithms that are accepted follow from the
kind of that key and never from the token, so a token cannot choose how it is checked. Its `role` or `prefix` says what
its bearer may do: an admin everything, everybody else what happens to ids that begin with the prefix. Every id that a
request reads or writes counts, nested ones as well; the official server looks at the outermost only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from resonate_store.model.clock import Clock, ambient
from resonate_store.model.records import lineage_elsewhere
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    ProtocolRequest,
    ScheduleCreate,
    ScheduleSearch,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.protocol.service import Refused
from resonate_store.settings import SettingsError

UNVERIFIED = "none"
"""Given as the key, it says that signatures are not looked at."""
LEEWAY_MS = 60_000
"""How far the clocks of issuer and server may differ."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: dict[type, str] = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}
_MIN_RSA_BITS = 2048
_LATEST_S = 2**43
"""An expiry beyond this is never; clocks of streams need not count so far."""


class Authentication:
    """The guard of a protocol server: admits who has a valid token.

    Args:
        public_key: in PEM: RSA of at least 2,048 bits, P-256, P-384, P-521 or Ed25519. `none` accepts every signature,
            in development only.
        issuer: what the claim `iss` must be, if given.
        audience: what the claim `aud` must name, if given.
        clock: tells when a token expires.
        development: whether `none` may be given.

    Raises:
        SettingsError: the key is none of these.
    """

    def __init__(
        self,
        public_key: str,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Clock | None = None,
        development: bool = False,
    ) -> None:
        self._verified = public_key.strip() != UNVERIFIED
        if not self._verified and not development:
            raise SettingsError(
                f"RESONATE_AUTH_PUBLIC_KEY is {UNVERIFIED!r}, which believes every token: it is for development only"
            )
        self._key, self._algorithms = _read(public_key) if self._verified else (None, ())
        self._issuer = issuer
        self._audience = audience
        self._clock = clock or ambient()

    def admit(self, token: str | None) -> Permission:
        """What the bearer of the token may do.

        Raises:
            Refused: 401 for a token that is missing or not valid, 403 for one that has neither role nor prefix.
        """
        claims = self._claims(token)
        role, prefix = claims.get("role"), claims.get("prefix")
        expires_at = int(min(claims["exp"], _LATEST_S) * 1000) + LEEWAY_MS
        if isinstance(role, str) and role.lower() == "admin":
            return Permission("", expires_at)
        if not isinstance(prefix, str):
            raise Refused(403, "Forbidden")
        return Permission(prefix, expires_at)

    def _claims(self, token: str | None) -> dict[str, Any]:
        """The claims of a valid token.

        Raises:
            Refused: 401, for whatever reason, which is nobody's business.
        """
        required = ["exp"] + ["iss"] * (self._issuer is not None) + ["aud"] * (self._audience is not None)
        try:
            claims: dict[str, Any] = jwt.decode(
                token or "",
                self._key,  # pyright: ignore[reportArgumentType]
                algorithms=list(self._algorithms),
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": required,
                    "verify_signature": self._verified,
                    "verify_iss": self._issuer is not None,
                    "verify_aud": self._audience is not None,
                    # These it would compare with the machine's clock; `exp` and `nbf` are compared with ours below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Refused(401, "Unauthorized") from None
        expires, begins = claims["exp"], claims.get("nbf", 0)
        now = self._clock.now()
        if not (
            _is_time(expires) and _is_time(begins) and begins * 1000 - LEEWAY_MS <= now < expires * 1000 + LEEWAY_MS
        ):
            raise Refused(401, "Unauthorized")
        return claims


class Permission:
    """What a caller may do: everything to the ids that begin with a prefix, or with an empty one, everything.

    Attributes:
        prefix: of the ids.
        expires_at: the instant (ms) from which the token is refused.
    """

    def __init__(self, prefix: str, expires_at: int) -> None:
        self.prefix = prefix
        self.expires_at = expires_at

    def covers(self, request: ProtocolRequest | None) -> bool:
        """Whether the request is allowed; None stands for one that has no ids, such as a debug request."""
        if not self.prefix:
            return True
        ids = _ids_of(request)
        return ids is not None and all(id.startswith(self.prefix) for id in ids)


def _ids_of(request: ProtocolRequest | None) -> Sequence[str] | None:
    """Every id that the request reads or writes; None when there is no telling which these are."""
    match request:
        case None | PromiseSearch() | TaskSearch() | ScheduleSearch():
            return None
        case PromiseRegisterCallback():
            return (request.awaited, request.awaiter)
        case PromiseRegisterListener():
            return (request.awaited,)
        case PromiseCreate():
            return _creation(request)
        case TaskCreate():
            return _creation(request.promise)
        case TaskFulfill():
            return (request.id, request.settle.id)
        case TaskFence():
            action = request.action
            return (request.id, *(_creation(action) if isinstance(action, PromiseCreate) else (action.id,)))
        case TaskSuspend():
            return (request.id, *request.awaited)
        case TaskHeartbeat():
            return [task.id for task in request.tasks]
        case ScheduleCreate():
            # What an occurrence is called is known but for its time.
            return (request.id, request.promise_id.replace("{{.id}}", request.id))
        case _:
            return (request.id,)


def _creation(promise: PromiseCreate) -> Sequence[str]:
    """The id of a new promise, and the others that its lineage tags put it among; those above it are its own."""
    return (promise.id, *lineage_elsewhere(promise.id, promise.tags))


def _is_time(claim: Any) -> bool:
    if isinstance(claim, float):
        return math.isfinite(claim)  # Python reads Infinity and NaN, which are not JSON
    return isinstance(claim, int) and not isinstance(claim, bool)


def _read(pem: str) -> tuple[Any, tuple[str, ...]]:
    """The key, and the algorithms that a key of its kind verifies."""
    # Environment variables and parameters lose the line breaks of a PEM easily.
    text = pem.strip().replace("\\n", "\n")
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"RESONATE_AUTH_PUBLIC_KEY is no public key in PEM: {error}") from None
    match key:
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
            return key, _RSA
        case RSAPublicKey():
            raise SettingsError(
                f"RESONATE_AUTH_PUBLIC_KEY is an RSA key of {key.key_size} bits: {_MIN_RSA_BITS} are the least"
            )
        case EllipticCurvePublicKey() if type(key.curve) in _CURVES:
            return key, (_CURVES[type(key.curve)],)
        case Ed25519PublicKey():
            return key, ("EdDSA",)
        case _:
            raise SettingsError(
                f"RESONATE_AUTH_PUBLIC_KEY is a {type(key).__name__}: give RSA, P-256, P-384, P-521 or Ed25519"
            )
