"""Chromium, driven by Playwright, and the console of a server in this process."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from resonate.message_sources import Poller
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.model.clock import ManualClock
from resonate_store.model.servers import ServerSettings
from resonate_store.remote.server_client import ServerClient
from tests.support.clients.node import installed
from tests.support.console_demo import FUNCTIONS, MONDAY, Shop, fill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = Path(__file__).parents[1] / "console" / "packages"
OPEN = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
"""Other browsers let foreign pages send requests to loopback, so the console must refuse them itself."""
PATIENCE_S = 15.0
"""How long a worker may take to connect, in seconds."""
WIDE, NARROW = (1360, 900), (390, 844)
"""Sizes of windows, in pixels."""


@contextmanager
def chromium() -> Generator[Browser]:
    """Run Chromium. Nothing else of this thread may run an event loop meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", OPEN])
        try:
            yield browser
        finally:
            browser.close()


class Served:
    """Development server with the shop, whose clock the test moves.

    Args:
        data: the SQLite file. None keeps the promises in memory.
        debug: whether the clock can be moved on the pages.
    """

    def __init__(self, data: Path | None = None, *, debug: bool = True) -> None:
        self.clock = ManualClock(MONDAY)
        self.server = Server(ServerOptions(port=0, data=None if data is None else str(data), debug=debug), self.clock)
        self.shop = Shop(self.server.store, self.clock)
        self.url = f"http://localhost:{self.server.port}"
        self._pollers: list[Poller] = []

    def fill(self) -> None:
        """Create the executions of the shop, and connect a worker that announces its functions."""
        fill(self.server.store, self.clock)
        self.connect()

    def connect(self) -> None:
        """Connect a worker that announces its functions, and takes no task."""
        connected = threading.Event()
        poller = Poller("shop", "shop-1", url=self.url)
        poller.start(lambda _: None, connected.set)
        self._pollers.append(poller)
        assert connected.wait(PATIENCE_S)
        assert ServerClient(ServerSettings(self.url, self.url)).announce("shop", "shop-1", FUNCTIONS)

    @contextmanager
    def running(self) -> Generator[None]:
        """Serve while the block runs."""
        with self.server.running():
            yield
            for poller in self._pollers:
                poller.stop()


class Visitor:
    """One user of the console in a browser.

    Attributes:
        page: the page.
        complaints: what the browser has said: errors of scripts, and violations of the policy.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        size: tuple[int, int] = WIDE,
        scheme: Literal["light", "dark"] = "light",
        scripts: bool = True,
        checked: bool = False,
    ) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=scripts,
            bypass_csp=checked,
            reduced_motion="reduce",
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Page:
        """Open a page of the console."""
        self.page.goto(f"{self.url}/console{path}")
        return self.page

    def passes(self, milliseconds: int) -> None:
        """Move the time of the page, whose clock the test has installed."""
        self.page.clock.fast_forward(milliseconds)

    def violations(self) -> list[str]:
        """Return the serious violations of rules of accessibility on the page."""
        self.page.evaluate((installed(AXE) / "node_modules/axe-core/axe.min.js").read_text())
        found: Any = self.page.evaluate("async () => (await axe.run()).violations")
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:150] for node in each['nodes']][:3]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    def close(self) -> None:
        self._context.close()
