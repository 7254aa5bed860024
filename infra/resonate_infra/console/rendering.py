"""Pages from templates. Every text that users have stored is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from resonate_infra.console.statuses import OFFERED
from resonate_infra.console.times import age, final_instant, full_instant, iso_instant, short_instant
from resonate_infra.inspection.texts import duration

BASE: Final = "/console"
"""The path of the console."""
STATIC: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The static files, and their media types."""
STATUSES: Final = {
    "running": "running",
    OFFERED: "waiting for a worker",
    "waiting": "waiting",
    "retrying": "retrying",
    "halted": "halted",
    "pending": "pending",
    "resolved": "resolved",
    "rejected": "failed",
    "rejected_timedout": "timed out",
    "rejected_canceled": "canceled",
}
"""The words of each status."""


def url(path: str, **query: Any) -> str:
    """Return the URL of a page. A value of the query that is None is left out, and a list is repeated."""
    given = {name.rstrip("_"): value for name, value in query.items() if value not in (None, "", [], ())}
    return f"{BASE}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def content_of(name: str) -> bytes:
    """Return a static file."""
    return (files("resonate_infra.console") / "static" / name).read_bytes()


@cache
def static_url(name: str) -> str:
    """Return the URL of a static file. It changes with the file, so that browsers can keep it."""
    return url(f"/static/{name}", v=sha256(content_of(name)).hexdigest()[:12])


def cut(text: str, length: int = 300) -> str:
    """Return a text of at most this many characters, so that pages stay small."""
    return text if len(text) <= length else text[: length - 1] + "…"


def headline(text: str) -> str:
    """Return the first line of a text that is not empty."""
    return cut(next(iter(text.strip().splitlines()), ""))


@cache
def environment() -> Environment:
    """Return the templates."""
    loaded = Environment(
        loader=PackageLoader("resonate_infra.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared: dict[str, Any] = {"url": url, "static_url": static_url, "status_words": STATUSES}
    loaded.globals.update(shared)
    filters: dict[str, Any] = {
        "short": short_instant,
        "full": full_instant,
        "iso": iso_instant,
        "age": age,
        "final_instant": final_instant,
        "duration": duration,
        "cut": cut,
        "headline": headline,
    }
    loaded.filters.update(filters)
    return loaded


def page(template: str, content: Mapping[str, Any], status: int = 200) -> Response:
    """Return the response with a rendered template."""
    return HTMLResponse(environment().get_template(template).render(content), status)
