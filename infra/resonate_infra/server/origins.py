"""Middleware that refuses requests of foreign web pages to a server without tokens.

A page in a browser can send requests to any address, also to this machine. Without tokens, the middleware reads four
headers to distinguish such a request from the request of an SDK:

- `Host` is the name of the server in the browser's URL. An attacker's name can resolve to this machine (DNS
  rebinding). The header then has that name.
- `Origin` names the page. Browsers send it with every POST and every stream.
- `Sec-Fetch-Site` reveals plain GET requests of other sites, which have no `Origin`.
- `Content-Type` must be JSON in the POST of a page. A browser posts a form to any server without asking it (no CORS
  preflight), but a form cannot send JSON.

SDKs, curl and health checks send neither `Origin` nor `Sec-Fetch-Site`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from resonate_infra.effects.settings import origin_of
from resonate_infra.hosts import ANY, HostCheck, host_of

_FOREIGN_SITES = ("cross-site", "same-site")


class OriginCheck:
    """ASGI middleware that answers 403 to a foreign `Host` or `Origin`, and 415 to a page's body that is not JSON.

    Args:
        app: the application that answers all other requests.
        hosts: names and addresses of the server in addition to loopback. "*" admits all. An address that means every
            address of the machine, such as 0.0.0.0, admits every address, but no name.
        origins: origins whose pages may call. "*" admits all.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Sequence[str]) -> None:
        self._app = app
        self._hosts = HostCheck(hosts)
        self._origins = frozenset(origins)
        self._admitted: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(str(scope["method"]), Headers(scope=scope)) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, method: str, headers: Mapping[str, str]) -> PlainTextResponse | None:
        """Return the response that refuses a request. Return None if the request is admitted."""
        host, origin = headers.get("host"), headers.get("origin")
        # Browsers always send the host. Clients of HTTP/1.0 may omit it.
        if host is not None and host != self._admitted:  # nearly all requests have the same host
            if not self._hosts.admits(host):
                return PlainTextResponse(_refused_host(host), status_code=403)
            self._admitted = host
        if origin is None:
            foreign = headers.get("sec-fetch-site") in _FOREIGN_SITES and ANY not in self._origins
            return PlainTextResponse("A page of another site may not call", status_code=403) if foreign else None
        if not self._admits_origin(origin, host):
            return PlainTextResponse(_refused_origin(origin), status_code=403)
        if method == "POST" and not _is_json(headers.get("content-type", "")):
            return PlainTextResponse("A page has to send Content-Type: application/json", status_code=415)
        return None

    def _admits_origin(self, origin: str, host: str | None) -> bool:
        own = host is not None and origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
        return own or ANY in self._origins or origin in self._origins


def _refused_host(host: str) -> str:
    allowed = allowed_host_of(host)
    if allowed in (None, ANY):
        return f"The Host header {host!r} is not the name of a server: call this one at http://localhost and its port"
    return f"This server does not answer as {host!r}: if that is its name, start it with --allow-host {allowed}"


def _refused_origin(origin: str) -> str:
    if (allowed := origin_of(origin)) is not None:
        return f"Pages of {origin!r} may not call: to let them, start the server with --cors {allowed}"
    if origin == "null":
        return (
            "Pages without an origin (a file, a sandboxed frame, a redirect) may not call: serve the page over HTTP,"
            " for example at http://localhost:8000, and start the server with --cors and that origin"
        )
    if not origin:
        return "The Origin header is empty: leave it out, or send the page's origin, such as http://localhost:8000"
    return (
        f"Pages of {origin!r} may not call: --cors lists http and https origins; only --cors '*' admits others, and all"
    )


def allowed_host_of(text: str) -> str | None:
    """Return the host that a user allows, in the form that `OriginCheck` compares.

    Return None if no `Host` header can match it.
    """
    text = text.strip()
    if text == ANY:
        return ANY
    name = host_of(text) or text
    try:
        return str(ip_address(name))
    except ValueError:
        return name if _NAME.fullmatch(name) else None


_NAME = re.compile(r"[a-z0-9._-]+", re.ASCII)


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
