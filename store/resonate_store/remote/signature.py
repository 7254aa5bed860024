"""Signatures of requests with AWS credentials, for an API that requires IAM.

This is a module of its own because it imports botocore, which other clients do not need.
"""

from __future__ import annotations

import os
from typing import Any

from resonate_store.interface import StoreError
from resonate_store.model.servers import Scope


class RequestSignature:
    """Signs requests (SigV4) with the AWS credentials of the environment.

    Args:
        scope: the service and region for which requests are signed.
        session: a botocore session. None creates a new one.

    Raises:
        StoreError: botocore is not installed, or no region is set.
    """

    def __init__(self, scope: Scope, session: Any = None) -> None:
        if session is None:
            try:
                from botocore.session import Session
            except ImportError:
                raise StoreError(
                    "signing requests with AWS credentials needs botocore: pip install 'resonate-serverless[aws]'"
                ) from None
            session = Session()
        self._session = session
        self._service = scope.service
        # botocore reads only AWS_DEFAULT_REGION. Lambda and the other SDKs set AWS_REGION too.
        self._region: str = scope.region or os.environ.get("AWS_REGION") or session.get_config_variable("region") or ""
        if not self._region:
            raise StoreError("requests are to be signed, but for which AWS region is not said: set AWS_REGION")

    def headers(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """Return the headers of one request with its signature.

        Raises:
            StoreError: the environment has no AWS credentials.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = self._session.get_credentials()
        if credentials is None:
            raise StoreError("requests are to be signed, but there are no AWS credentials in this environment")
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), self._service, self._region).add_auth(request)
        return dict(request.headers.items())
