"""Keys, and tokens that are signed with them."""

from __future__ import annotations

import functools
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_750_000_000
CURVES: dict[str, Any] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k1": ec.SECP256K1}


@functools.cache
def private(kind: str) -> Any:
    match kind:
        case "rsa" | "other":
            return rsa.generate_private_key(65537, 2048)
        case "short":
            return rsa.generate_private_key(65537, 1024)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "dsa":
            return dsa.generate_private_key(2048)
        case curve:
            return ec.generate_private_key(CURVES[curve]())


def public(kind: str) -> str:
    key = private(kind).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def token(algorithm: str = "RS256", kind: str = "rsa", **claims: Any) -> str:
    claims = {"exp": NOW + 3600, "prefix": "t1.", **claims}
    return jwt.encode({name: claim for name, claim in claims.items() if claim is not None}, private(kind), algorithm)
