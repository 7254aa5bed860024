"""Browser worker: its page in Chromium, and its modules in Node."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients.node import NODE, installed, needs_node
from tests.support.environments import Surroundings
from tests.support.example_programs import command, server_options, start
from tests.support.hypothesis_settings import in_ci
from tests.support.ports import free_port

HERE = Path(__file__).parent / "browser"
CHROMIUM = shutil.which("chromium")
PAUSE = 500
"""Duration of a step of the factorial, in milliseconds."""


@pytest.fixture(scope="session")
def packages() -> Path:
    """Directory with the installed packages."""
    return installed(HERE)


@needs_node
def test_in_node(server: Surroundings, packages: Path) -> None:
    node = [str(NODE), "worker.mjs", server.url]
    asking = start(server, command("browser_worker", "client.py"))
    first = server.start(*node, "tab-1", str(PAUSE), cwd=packages)
    first.line("3 * 2")
    first.kill()

    second = server.start(*node, "tab-2", "0", cwd=packages)
    assert (asking.end(), asking.lines) == (0, ["120"])
    assert [line for line in first.lines if "*" in line] == ["1 * 1", "2 * 1", "3 * 2"]
    # Only the interrupted step runs again.
    assert [line for line in second.lines if "*" in line] == ["3 * 2", "4 * 6", "5 * 24"]


@in_ci
@needs_node
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_in_chromium(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    port = str(free_port())
    origin = f"http://localhost:{port}"
    server = surroundings(None, *server_options("browser_worker", **{"http://localhost:8000": origin}))
    site = start(server, command("browser_worker", "http.server"), {"8000": port})
    # The call begins before the page exists.
    asking = start(server, command("browser_worker", "client.py"))
    site.line("Serving HTTP")
    address = f"{origin}/?server={server.url}&pause={PAUSE}"
    page = server.start(str(NODE), "page.mjs", str(CHROMIUM), address, "3 * 2", "factorial of 5 is 120", cwd=packages)
    assert page.end() == 0, page.lines
    # A slow machine also logs that no worker is connected yet.
    assert (asking.end(), asking.lines[-1:]) == (0, ["120"])
    assert [line for line in page.lines if "*" in line or line == "refreshed"] == [
        "1 * 1",
        "2 * 1",
        "3 * 2",
        "refreshed",
        "3 * 2",
        "4 * 6",
        "5 * 24",
    ]
