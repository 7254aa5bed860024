"""What protects the console from other web pages and from what users have stored.

- It answers only to names of this machine, or of the server, so that a foreign name cannot resolve to it.
- A write is a form with a token that is new at each start. Its `Origin` is the console's own.
- A strict Content-Security-Policy admits only the scripts and styles of the console. No page has inline code.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resonate_infra.hosts import HostCheck
from resonate_store.model.ids import random_id

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response."""
SAFE = ("GET", "HEAD")
"""The methods of requests that change nothing."""


class ConsoleGuard:
    """ASGI middleware that refuses requests of other pages, and adds `HEADERS` to responses.

    Args:
        app: the application that answers all other requests.
        hosts: names and addresses of the console in addition to loopback. "*" admits all.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = HostCheck(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, text in HEADERS.items():
                    headers[name] = text
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(str(scope["method"]), Headers(scope=scope))
        await (self._app if refusal is None else PlainTextResponse(refusal, 403))(scope, receive, secured)

    def _refusal(self, method: str, headers: Mapping[str, str]) -> str | None:
        """Return why a request is refused, or None if it is admitted."""
        host = headers.get("host", "")
        if not self._hosts.admits(host):
            return f"The console does not answer as {host!r}: open it at http://localhost and its port"
        if method in SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if site not in (None, "same-origin"):
            return "A page of another site may not write to the console"
        # With the policy no-referrer, browsers write `null` for the origin of a form, and say the site elsewhere.
        if origin is None or (origin == "null" and site == "same-origin"):
            return None
        if origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return None
        return f"Pages of {origin!r} may not write to the console"


class WriteToken:
    """Token that a form must have. It is new at each start."""

    def __init__(self) -> None:
        self.text = random_id()

    def fits(self, given: str) -> bool:
        """Return whether a form has the token."""
        return hmac.compare_digest(given.encode(), self.text.encode())


class SignedIn:
    """Tokens that users have given, by the random id in the cookie of each browser."""

    MOST = 1_000
    """Maximum number of users. Beyond it, the first one is signed out."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def add(self, token: str) -> str:
        """Keep a token and return the id for the cookie."""
        id = random_id()
        self._tokens[id] = token
        if len(self._tokens) > self.MOST:
            del self._tokens[next(iter(self._tokens))]
        return id

    def token(self, id: str) -> str | None:
        """Return the token of a user, or None."""
        return self._tokens.get(id)

    def remove(self, id: str) -> None:
        """Sign a user out."""
        self._tokens.pop(id, None)
