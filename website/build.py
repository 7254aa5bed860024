"""Build of the documentation site: `python -m website.build` writes `build/site`.

The build fails in these cases: the generator warns, a link leads to nothing, or a page is not in the navigation.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from website.llms import NoSentenceError, indexed, text_of
from website.pages import built_pages, dead_links, listed

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "zensical.toml"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# The generator warns in a block of lines, and the reader of docstrings in one line.
_WARNING = re.compile(r"^(?:warning|error|griffe|mkdocstrings|autorefs)\b", re.IGNORECASE | re.MULTILINE)
# The list of decisions links to each of them. A navigation of a hundred titles helps no reader.
_NOT_IN_NAVIGATION = re.compile(r"decisions/\d{4}-")


class BuildError(Exception):
    """Raised when the site has faults. The message lists them."""


def build() -> Path:
    """Build the site without the cache of earlier builds, check it, and write `llms.txt`.

    Returns:
        The folder of the site.

    Raises:
        BuildError: the site has faults.
    """
    project = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["project"]
    site = (ROOT / project["site_dir"]).resolve()
    generate()
    pages = built_pages(site)
    order = listed(site, pages)
    faults = list(dead_links(site, pages))
    for path in pages:
        address = path.relative_to(site).as_posix()
        if address not in order and not _NOT_IN_NAVIGATION.match(address):
            faults.append(f"{address} is not in the navigation: add it to .nav.yml in its folder of docs")
    if faults:
        raise BuildError("\n".join(faults))
    try:
        text = text_of(project["site_name"], project["site_description"], indexed(site), order)
    except NoSentenceError as error:
        raise BuildError(str(error)) from None
    (site / "llms.txt").write_text(text, encoding="utf-8")
    restrict_search(site, set(order))
    return site


def restrict_search(site: Path, addresses: set[str]) -> None:
    """Leave only the pages with these addresses in the search index.

    A hundred decisions say much about each subject, and would hide the pages that users need.
    """
    path = site / "search.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["items"] = [item for item in index["items"] if item["location"].partition("#")[0] in addresses]
    path.write_text(json.dumps(index), encoding="utf-8")


def generate() -> None:
    """Run the site generator.

    Raises:
        BuildError: it failed, or it printed a warning.
    """
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(CONFIGURATION)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    output = _COLOUR.sub("", done.stdout + done.stderr)
    if done.returncode or _WARNING.search(output):
        # The generator ends a strict build with a traceback of itself, which says nothing about the pages.
        raise BuildError(output.partition("Traceback")[0] if "Aborted because" in output else output)


def main() -> None:
    """Build the site, or print its faults and exit with status 1."""
    try:
        site = build()
    except BuildError as error:
        sys.exit(f"{error}\nThe site has faults.")
    print(f"The site is in {site.relative_to(ROOT)}: open {site.relative_to(ROOT) / 'index.html'}")


if __name__ == "__main__":
    main()
