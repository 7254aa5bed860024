"""Authentication and authorization with JSON Web Tokens and id prefixes (docs/protocol.md 2.6).

The server has one public key. The kind of that key selects the accepted algorithms. The header of a token does not, so
a token cannot choose how it is verified.

The claims `role` and `prefix` say what the bearer may do. An admin may do everything. Any other bearer may use only ids
that begin with the prefix. Every id that a request reads or writes is checked, also nested ones. The official server
checks only the outermost id.
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
from resonate_store.model.execution_requests import ExecutionCount, ExecutionSearch, TaskCopy
from resonate_store.model.message_requests import TaskPublish, TaskReceive
from resonate_store.model.records import lineage_elsewhere
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    ProtocolRequest,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskRecordStep,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleSearch
from resonate_store.protocol.service import Refused
from resonate_store.settings import SettingsError

UNVERIFIED = "none"
"""Value of the key that turns off the verification of signatures."""
LEEWAY_MS = 60_000
"""Maximum difference of the clocks of issuer and server, in milliseconds."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: dict[type, str] = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}
_MIN_RSA_BITS = 2048
_LATEST_S = 2**43
"""Maximum expiry in seconds since 1970. A later expiry counts as this one, so that timers of streams stay in range."""


class Authentication:
    """Verifier of tokens for a protocol server.

    Args:
        public_key: the key in PEM: RSA with at least 2,048 bits, P-256, P-384, P-521 or Ed25519. `none` accepts every
            signature.
        issuer: the required claim `iss`. None does not check it.
        audience: the required claim `aud`. None does not check it.
        clock: the source of time for the expiry of tokens. Default: the clock of the process.
        development: whether `none` is permitted as the key.

    Raises:
        SettingsError: the key is of another kind, is too short, or is `none` without `development`.
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
        """Return what the bearer of a token may do.

        Raises:
            Refused: 401 if the token is missing or invalid, 403 if it has neither the role `admin` nor a prefix.
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
        """Return the claims of a valid token.

        Raises:
            Refused: 401 if the token is invalid. The reason is not revealed to the caller.
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
                    # The library would use the machine's clock. `exp` and `nbf` are compared with our clock below.
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
    """Permission of a caller to use all ids that begin with a prefix. An empty prefix permits everything.

    Attributes:
        prefix: the prefix of the ids.
        expires_at: the instant (ms) from which the token is refused.
    """

    def __init__(self, prefix: str, expires_at: int) -> None:
        self.prefix = prefix
        self.expires_at = expires_at

    def covers(self, request: ProtocolRequest | None) -> bool:
        """Return whether a request is permitted. None means a request without ids, such as a debug request."""
        if not self.prefix:
            return True
        ids = _ids_of(request)
        return ids is not None and all(id.startswith(self.prefix) for id in ids)


def _ids_of(request: ProtocolRequest | None) -> Sequence[str] | None:
    """Return every id that a request reads or writes. Return None if the request does not name them all."""
    match request:
        case ExecutionSearch(id=str(prefix)) | PromiseSearch(id=str(prefix)):
            return (prefix,)
        case None | PromiseSearch() | TaskSearch() | ScheduleSearch() | ExecutionSearch() | ExecutionCount():
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
        case TaskRecordStep():
            return (request.id, *_creation(request.record))
        case TaskCopy():
            return (request.id, request.promise.id, *lineage_elsewhere(request.promise.id, request.promise.tags))
        case TaskReceive():
            return (request.id, request.message, request.place)
        case TaskPublish():
            return (request.id, request.place, *lineage_elsewhere(request.place, request.tags))
        case TaskSuspend():
            return (request.id, *request.awaited)
        case TaskHeartbeat():
            return [task.id for task in request.tasks]
        case ScheduleCreate():
            # The ids of occurrences are known except for their time.
            return (request.id, request.promise_id.replace("{{.id}}", request.id))
        case _:
            return (request.id,)


def _creation(promise: PromiseCreate | PromiseRecord) -> Sequence[str]:
    """Return the id of a new promise, and the ids in its tags that are neither its own nor above it."""
    return (promise.id, *lineage_elsewhere(promise.id, promise.tags))


def _is_time(claim: Any) -> bool:
    if isinstance(claim, float):
        return math.isfinite(claim)  # Python's JSON parser accepts Infinity and NaN.
    return isinstance(claim, int) and not isinstance(claim, bool)


def _read(pem: str) -> tuple[Any, tuple[str, ...]]:
    """Return the key of a PEM, and the algorithms for keys of its kind."""
    # Line breaks of a PEM are often written as `\n` in environment variables and parameters.
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
