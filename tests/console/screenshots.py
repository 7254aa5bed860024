"""Pictures of the console for docs/console.md.

    python -m tests.console.screenshots

It writes docs/images/console-*.png. The executions and the time are those of `tests.support.console_demo`, so a second
run draws the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from tests.support.browser import NARROW, WIDE, Served, Visitor, chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 200 * 1024
"""Maximum size of a picture."""


class Picture(NamedTuple):
    """A picture: the page, the window, and whether the part below the window is on it too."""

    path: str
    size: tuple[int, int] = WIDE
    scheme: Literal["light", "dark"] = "light"
    whole: bool = False


PICTURES = {
    "executions": Picture("/executions"),
    "executions-narrow": Picture("/executions", NARROW, "dark"),
    "execution": Picture("/execution?id=order-4120"),
    "execution-dark": Picture("/execution?id=order-4120", scheme="dark"),
    "execution-narrow": Picture("/execution?id=order-4120", NARROW, whole=True),
    "attempts": Picture("/execution?id=order-4119&step=order-4119.3"),
    "waiting": Picture("/execution?id=order-4121", scheme="dark"),
    "people": Picture("/people"),
    "start": Picture("/start?func=order&target=shop"),
    "workers": Picture("/workers", scheme="dark"),
}


def main() -> None:
    """Draw all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        served = Served(debug=False)
        with served.running():
            served.fill()
            for name, picture in PICTURES.items():
                visitor = Visitor(browser, served.url, size=picture.size, scheme=picture.scheme)
                page = visitor.open(picture.path)
                page.wait_for_load_state("networkidle")
                if name == "start":
                    page.get_by_label("Id", exact=True).fill("order-4124")  # else it is random
                    page.get_by_label("amount").focus()
                place = IMAGES / f"console-{name}.png"
                page.screenshot(path=place, full_page=picture.whole)
                visitor.close()
                assert place.stat().st_size <= MOST_BYTES, f"{place} is too large"
                print(place.name, place.stat().st_size)


if __name__ == "__main__":
    main()
