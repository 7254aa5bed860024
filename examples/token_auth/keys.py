"""Program that makes a pair of keys, and tokens that are signed with the private key.

The server gets the public key only. The private key would be a secret of the identity provider. This program does not
store it. The argument is a directory for `public.pem` and a token for each tenant.
"""

import sys
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from resonate_store.model.clock import ambient

directory = Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)

private = Ed25519PrivateKey.generate()
public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
(directory / "public.pem").write_bytes(public)

in_an_hour = ambient().now() // 1000 + 3600
for tenant in ("worker-1", "worker-2"):
    # Because of the colon, the token of worker-1 is not for the ids of worker-10.
    claims = {"prefix": f"{tenant}:", "exp": in_an_hour}
    (directory / f"{tenant}.token").write_text(jwt.encode(claims, private, "EdDSA"))
