"""Explanations of errors, lint rules and statuses: sections of docs/errors.md and docs/lint.md.

The pages are the only source. A wheel has a copy of them (`bundled`), which its build makes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ERRORS: Final = "docs/errors.md"
RULES: Final = "docs/lint.md"
PAGES: Final = (ERRORS, RULES)
"""The pages whose sections explain something."""

_SECTION = re.compile(r"^### (?P<code>\w+)(?P<rest>[^\n]*)\n(?P<text>.*?)(?=^#{2,3} |\Z)", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r"^\| (?P<code>\d{3}) \| (?P<meaning>.*?) \| (?P<way>.*?) \|$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)]+)\)")


class Explanation(NamedTuple):
    """What a page says about a code.

    Attributes:
        code: the name of an error's class, the code of a rule such as `RS101`, or a status such as `404`.
        title: the code, and the name of the rule.
        page: the page that it is from, such as `docs/errors.md`.
        text: its cause and its way out, as Markdown without links.
    """

    code: str
    title: str
    page: str
    text: str


def explanation_of(code: str) -> Explanation:
    """Return the explanation of a code. Case does not matter, nor does the module before the name of a class.

    Raises:
        LookupError: nothing has this code. The message names a similar one.
    """
    known = {each.code.lower(): each for each in explanations()}
    name = code.strip().rpartition(".")[2].lower()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {known[close[0]].code}?" if close else ": it is not an error, a lint rule or a status"
        raise LookupError(f"nothing explains {code!r}{hint}")
    return known[name]


@cache
def explanations() -> tuple[Explanation, ...]:
    """Return all explanations, in the order of the pages."""
    return tuple(each for page in PAGES for each in _explanations_in(page))


def page_at(page: str) -> Path:
    """Return the file of a page: in the wheel that is installed, or in a clone."""
    of_the_package = Path(__file__).parent / "bundled" / page
    return of_the_package if of_the_package.exists() else Path(__file__).parents[2] / page


def _explanations_in(page: str) -> Iterator[Explanation]:
    text = page_at(page).read_text(encoding="utf-8")
    for found in _SECTION.finditer(text):
        yield Explanation(found["code"], f"{found['code']}{found['rest']}", page, _without_links(found["text"], page))
    if page == ERRORS:
        statuses = text.partition("\n## Statuses\n")[2].partition("\n## ")[0]
        for found in _STATUS.finditer(statuses):
            said = f"{found['meaning']}.\n\nWay out: {found['way']}."
            yield Explanation(found["code"], f"Status {found['code']}", page, _without_links(said, page))


def _without_links(text: str, page: str) -> str:
    """Return Markdown with the text of each link. The name of another page follows it."""

    def shown(link: re.Match[str]) -> str:
        target = link["target"].partition("#")[0]
        if not target or "://" in target:
            return link["text"] if not target else f"{link['text']} ({target})"
        return f"{link['text']} ({(Path(page).parent / target).as_posix()})"

    return _LINK.sub(shown, text).strip()
