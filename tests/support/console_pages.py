"""Pages of the console over a store in memory, read as text, links and forms."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

import httpx
from starlette.types import ASGIApp

from resonate_infra.authentication import Authentication
from resonate_infra.console.application import console
from resonate_infra.console.backend import Describe, ServerBackend, post_to
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import OWN_KINDS
from resonate_store.protocol.workers import AnnouncedWorker, WorkerView
from tests.support.console_demo import FUNCTIONS, MONDAY, Shop

_TAG = re.compile(r"<[^>]*>")
_FIELD = re.compile(
    r'<input (?:type="hidden" )?name="(\w+)"[^>]*? value="([^"]*)"|<textarea name="(\w+)"[^>]*>\n(.*?)</textarea>'
    r'|<select name="(\w+)">.*?<option selected>(\w+)',
    re.DOTALL,
)


class Browser:
    """HTTP client that calls an application directly, keeps cookies, and does not follow redirects.

    Args:
        app: the application.
        url: its address.
        raises: whether an exception of the application is raised here too.
    """

    def __init__(self, app: ASGIApp, url: str, *, raises: bool = True) -> None:
        self.app = app
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=raises)
        self._url = url
        self.cookies = httpx.Cookies()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=self._url, cookies=self.cookies) as client:
                response = await client.request(method, path, **request)
                self.cookies = client.cookies
                return response

        return asyncio.run(call())


SHOP = WorkerView("shop", "shop-1", functions=FUNCTIONS)


class Workers:
    """Directory of workers that are not connected."""

    def __init__(self, *known: WorkerView) -> None:
        self._known = [*known]

    def announce(self, worker: AnnouncedWorker, prefix: str) -> bool:  # noqa: ARG002
        return True

    def workers(self, prefix: str) -> list[WorkerView]:  # noqa: ARG002
        return self._known


class Pages:
    """Browser without JavaScript, and the store behind the console.

    Args:
        key: the public key of tokens, or None if no tokens are required.
        old: whether the server has only the requests of the official protocol.
        debug: whether the clock can be moved on the pages.
        workers: the workers that are known.
        describe: asks a Lambda function for its descriptions.
    """

    def __init__(
        self,
        key: str | None = None,
        *,
        old: bool = False,
        debug: bool = True,
        workers: Sequence[WorkerView] = (SHOP, WorkerView("mail", address="https://mail.example")),
        describe: Describe | None = None,
    ) -> None:
        self.clock = ManualClock(MONDAY)
        timed = RequestClock(self.clock)
        self.store = SqliteStore(":memory:", timed)
        self.shop = Shop(self.store, self.clock)
        guard = None if key is None else Authentication(key, clock=self.clock, development=True)
        service = Service(
            self.store,
            guard=guard,
            debug=EmbeddedDebug(self.store, timed) if debug else None,
            workers=lambda _: 0,
            directory=None if old else Workers(*workers),
            clock=timed,
            refused=OWN_KINDS if old else (),
        )
        server = ServerSettings("http://localhost:8001", "http://localhost:8001")
        backend = ServerBackend(
            server,
            "Promises: in memory",
            timed,
            asks_for_token=key is not None,
            post=post_to(service.answer),
            describe=describe,
        )
        self.client = Browser(console(backend), "http://localhost:8001")

    def get(self, path: str, status: int = 200, **headers: str) -> str:
        """Return the HTML of a page."""
        response = self.client.request("GET", f"/console{path}", headers=headers)
        assert response.status_code == status, response.text
        return response.text

    def text(self, path: str, status: int = 200) -> str:
        """Return the text of the content of a page, with single spaces."""
        return text_of(self.get(path, status).partition("<main")[2])

    def token(self) -> str:
        """Return the token for forms."""
        found = re.search(r'name="token" value="(\w+)"', self.get("/start?by_hand=1"))
        assert found is not None
        return found[1]

    def sign_in(self, jwt: str) -> httpx.Response:
        """Send the form that signs a user in."""
        return self.client.request("POST", "/console/sign-in", data={"token": self.token(), "jwt": jwt})

    def post(self, path: str, fields: Mapping[str, str], *, headers: dict[str, str] | None = None) -> httpx.Response:
        """Send a form with the token of a page, and do not follow the redirect."""
        data = {"token": self.token(), **fields}
        return self.client.request("POST", f"/console{path}", data=data, headers=headers)

    def done(self, path: str, fields: Mapping[str, str]) -> str:
        """Send a form, and return the sentence that the next page shows."""
        response = self.post(path, fields)
        assert response.status_code == 303, response.text
        page = self.client.request("GET", response.headers["location"]).text
        found = re.search(r'<p class="notice" role="status">(.*?)</p>', page, re.DOTALL)
        assert found is not None, page
        return unescape(found[1])

    def refused(self, path: str, fields: Mapping[str, str]) -> tuple[int, str]:
        """Send a form that is refused, and return the status and the sentence of the page."""
        response = self.post(path, fields)
        return response.status_code, problem_in(response.text)


def text_of(html: str) -> str:
    """Return the text of HTML, with single spaces."""
    return " ".join(unescape(_TAG.sub(" ", html)).split())


def problem_in(html: str) -> str:
    """Return the sentence of a page that says why something is not possible."""
    found = re.search(r'role="alert">(.*?)</p>', html, re.DOTALL)
    assert found is not None, html
    return unescape(found[1])


def rows_in(html: str) -> list[list[str]]:
    """Return the cells of the tables of a page, without their heads."""
    rows: list[list[str]] = []
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL):
        cells: list[Any] = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        if cells:
            rows.append([text_of(cell) for cell in cells])
    return rows


def fields_in(html: str) -> dict[str, str]:
    """Return the fields of the form in the card of a page, as a browser sends them."""
    found: dict[str, str] = {}
    for match in _FIELD.findall(html.partition('class="card stack"')[2]):
        name, text = next((match[at], match[at + 1]) for at in (0, 2, 4) if match[at])
        found[name] = unescape(text).replace("\n", "\r\n")
    return found
