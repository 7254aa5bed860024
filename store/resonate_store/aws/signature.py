"""Signature Version 4: headers that prove that the sender of a request has the secret key."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

from resonate_store.aws.credentials import AwsCredentials
from resonate_store.model.clock import Clock

_ALGORITHM = "AWS4-HMAC-SHA256"


class AwsSigner:
    """Signer of requests to one service in one region.

    Args:
        service: the name of the service.
        region: the region.
        clock: the time of signatures.
    """

    def __init__(self, service: str, region: str, clock: Clock) -> None:
        self._service = service
        self._region = region
        self._clock = clock
        self._key: tuple[tuple[str, str], bytes] = (("", ""), b"")

    def sign(
        self, path: str, headers: Mapping[str, str], body: bytes, credentials: AwsCredentials, method: str = "POST"
    ) -> dict[str, str]:
        """Return the headers with date, session token and signature added. The signature covers all of them.

        Args:
            path: the path of the URL, as it is sent.
            headers: headers by lower-case name, with `host`.
            body: the body of the request.
            credentials: the credentials of the sender.
            method: the HTTP method.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.now() // 1000))
        signed = {**headers, "x-amz-date": stamp}
        if credentials.token is not None:
            signed["x-amz-security-token"] = credentials.token
        names = sorted(signed)
        listed = ";".join(names)
        lines = "".join([f"{name}:{signed[name].strip()}\n" for name in names])
        # All services except S3 expect a path that is encoded once more.
        canonical = f"{method}\n{quote(path, safe='/~')}\n\n{lines}\n{listed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(credentials.secret_key, stamp[:8]), text.encode(), "sha256").hex()
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return signed

    def _key_of(self, secret: str, day: str) -> bytes:
        """Return the signing key of a day. It takes four digests, so the latest key is kept."""
        known, key = self._key
        if known != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = ((secret, day), key)
        return key
