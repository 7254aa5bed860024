"""`llms.txt` of the site: each page of the navigation with its name, its address and one sentence."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
_TAG = re.compile(r"<[^>]+>")


class NoSentenceError(ValueError):
    """Raised when a page does not begin with a paragraph."""


def indexed(site: Path) -> dict[str, dict[str, Any]]:
    """Return the first section of each page in the search index, by the address of the page."""
    items = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    return {item["location"]: item for item in items if item["level"] == 1}


def text_of(name: str, description: str, pages: dict[str, dict[str, Any]], order: Iterable[str]) -> str:
    """Return the text of `llms.txt`.

    Args:
        name: the name of the site.
        description: one sentence about it.
        pages: the first sections of the pages, as `indexed` returns them.
        order: the addresses of the navigation, in its order.

    Raises:
        NoSentenceError: a page does not begin with a paragraph.
    """
    lines = [f"# {name}", "", f"> {description}"]
    section = ""
    for address in order:
        page = pages[address]
        path: list[str] = page["path"]
        if path[0] != section:
            section = path[0]
            lines += ["", f"## {section}", ""]
        lines.append(f"- [{path[-1]}]({address}): {_first_sentence(page)}")
    return "\n".join(lines) + "\n"


def _first_sentence(page: dict[str, Any]) -> str:
    found = re.match(r"\s*<p>(.*?)</p>", page["text"], re.DOTALL)
    if found is None:
        raise NoSentenceError(f"{page['location']} must begin with a paragraph: its first sentence is in llms.txt")
    text = html.unescape(_TAG.sub("", found.group(1).replace("<code>", "`").replace("</code>", "`")))
    return _SENTENCE.split(" ".join(text.split()))[0]
