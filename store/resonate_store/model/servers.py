"""Address and credentials of a Resonate server."""

from __future__ import annotations

from msgspec import Struct


class Scope(Struct, frozen=True):
    """Service and region for which a request to AWS is signed. Without a region, that of the environment is used."""

    service: str
    region: str | None


class ServerSettings(Struct, frozen=True):
    """Address and credentials of a Resonate server.

    Attributes:
        url: the address for requests.
        messages_url: the address to which `/poll/{group}/{id}` is added, for the messages of a worker.
        token: a JSON Web Token (JWT).
        auth: user name and password for HTTP basic authentication.
        scope: what requests are signed for with AWS credentials; None if they are not signed.
    """

    url: str
    messages_url: str
    token: str | None = None
    auth: tuple[str, str] | None = None
    scope: Scope | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request: `Authorization`, if there are credentials."""
        if self.auth is not None:
            from base64 import b64encode

            return {"Authorization": f"Basic {b64encode(':'.join(self.auth).encode()).decode()}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
