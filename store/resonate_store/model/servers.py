"""A Resonate server: its addresses, and the credentials for its requests."""

from __future__ import annotations

from msgspec import Struct


class Scope(Struct, frozen=True):
    """What a request to AWS is signed for; without a region, the session's."""

    service: str
    region: str | None


class ServerSettings(Struct, frozen=True):
    """A Resonate server.

    Attributes:
        url: where requests are posted.
        messages_url: where `/poll/{group}/{id}` is.
        token: a JWT.
        auth: user name and password for HTTP basic authentication.
        scope: what requests are signed for with AWS credentials; None if they are not.
    """

    url: str
    messages_url: str
    token: str | None = None
    auth: tuple[str, str] | None = None
    scope: Scope | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The `Authorization` header of every request, if there is one."""
        if self.auth is not None:
            from base64 import b64encode

            return {"Authorization": f"Basic {b64encode(':'.join(self.auth).encode()).decode()}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
