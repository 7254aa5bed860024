"""Built pages of the site: their links and anchors, and the pages that the navigation lists."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SOURCES = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}


class BuiltPage(HTMLParser):
    """A page of the site as a browser sees it.

    Attributes:
        links: the addresses that the page refers to.
        anchors: the ids of its elements.
        navigation: the addresses in the navigation, in its order.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.navigation: list[str] = []
        self._navs: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "nav":
            self._navs.append(given.get("class", ""))
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        link = given.get(_SOURCES.get(tag, ""))
        if link is None or given.get("rel") == "canonical":
            return
        self.links.append(link)
        # The table of contents of a page is a navigation inside of the navigation.
        if tag == "a" and "md-nav__link" in given.get("class", "") and self._in_navigation() and "#" not in link:
            self.navigation.append(link)

    def handle_endtag(self, tag: str) -> None:
        if tag == "nav" and self._navs:
            self._navs.pop()

    def _in_navigation(self) -> bool:
        return any("md-nav--primary" in classes for classes in self._navs)


def built_pages(site: Path) -> dict[Path, BuiltPage]:
    """Return the pages below `site` by their paths, without the page for addresses that do not exist."""
    return {path: BuiltPage(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def dead_links(site: Path, pages: dict[Path, BuiltPage]) -> Iterator[str]:
    """Yield a text for each link to a file or an anchor that the site does not have."""
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(site, path, *([] if not parts.path else ["..", unquote(parts.path)])).resolve()
            if target.is_dir():
                yield f"{path.relative_to(site)}: {link} is a folder: link to a page"
            elif not target.is_relative_to(site) or not target.exists():
                yield f"{path.relative_to(site)}: {link} is not a file of the site"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(site)}: {link} has no such anchor"


def listed(site: Path, pages: dict[Path, BuiltPage]) -> list[str]:
    """Return the addresses in the navigation, relative to the site, in their order and once each."""
    links = pages[site / "index.html"].navigation
    return list(dict.fromkeys(link.removeprefix("./") for link in links))
