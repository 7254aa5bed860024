"""Requests signed with AWS credentials, for an API that only IAM may call.

A module of its own because it needs botocore: only those pay for it, and need to have it installed, who call such an
API.
"""

from __future__ import annotations

import os
from typing import Any

from resonate_store.interface import StoreError
from resonate_store.model.servers import Scope


class RequestSignature:
    """Signs requests (SigV4) with the credentials of the environment.

    Args:
        scope: the service and region that requests are signed for.
        session: a botocore session; a new one if not given.

    Raises:
        StoreError: botocore is not installed, or there is no region.
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
        # botocore itself knows AWS_DEFAULT_REGION only; Lambda and the other SDKs have both.
        self._region: str = scope.region or os.environ.get("AWS_REGION") or session.get_config_variable("region") or ""
        if not self._region:
            raise StoreError("requests are to be signed, but for which AWS region is not said: set AWS_REGION")

    def headers(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """The headers of one request, with its signature.

        Raises:
            StoreError: there are no credentials.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = self._session.get_credentials()
        if credentials is None:
            raise StoreError("requests are to be signed, but there are no AWS credentials in this environment")
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), self._service, self._region).add_auth(request)
        return dict(request.headers.items())
