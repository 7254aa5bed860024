"""One try of a request over HTTP: on the socket if the server has no TLS, else with urllib3.

urllib3 takes more processor time for a request than the server. A server without TLS usually is on this machine, where
that time counts (docs/decisions/0075).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resonate_store.interface import StoreError
from resonate_store.remote.http import (
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    READ_TIMEOUT_S,
    Fault,
    Post,
    Reply,
    path_of,
    reason_of,
)


class HttpPost:
    """HTTP client for one server, with connections that are kept open.

    Args:
        url: the address of the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._post: Post | None = None

    def __call__(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        if self._post is None:
            if self._url.startswith("http://"):
                from resonate_store.remote.plain import PlainPost  # most processes do not need it

                self._post = PlainPost(self._url)
            else:
                self._post = _PooledPost(self._url)
        return self._post(body, headers, timeout)


class _PooledPost:
    """HTTP client for one server, with urllib3."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = path_of(url)
        self._pool: Any = None

    def __call__(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        # Imported by the first call, which most processes do not make during a cold start.
        from urllib3 import Timeout, connection_from_url
        from urllib3.exceptions import (
            ConnectTimeoutError,
            HTTPError,
            LocationValueError,
            NewConnectionError,
            SSLError,
        )

        limits = Timeout(connect=min(timeout, CONNECT_TIMEOUT_S), read=min(timeout, READ_TIMEOUT_S))
        try:
            if self._pool is None:
                self._pool = connection_from_url(self._url, maxsize=CONNECTIONS)
            response = self._pool.urlopen(
                "POST", self._path, body=body, headers=headers, retries=False, redirect=False, timeout=limits
            )
        except SSLError as error:
            raise StoreError(f"{self._url} cannot be trusted: {error}") from error
        except (ConnectTimeoutError, NewConnectionError) as error:
            raise Fault(reason_of(error), sent=False) from error
        except LocationValueError as error:
            raise StoreError(f"{self._url!r} is no address of a server: {error}") from error
        except HTTPError as error:
            raise Fault(reason_of(error), sent=True) from error
        return Reply(response.status, {name.lower(): text for name, text in response.headers.items()}, response.data)
