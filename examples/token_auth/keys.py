"""Makes a pair of keys, and tokens that are signed with the private one.

The server is given the public key only. The private one would be the identity provider's secret, and is forgotten here.
The argument is a directory, which gets `public.pem` and a token for each tenant.
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
    # With the colon, worker-1 may not touch what belongs to worker-10.
    claims = {"prefix": f"{tenant}:", "exp": in_an_hour}
    (directory / f"{tenant}.token").write_text(jwt.encode(claims, private, "EdDSA"))
