"""The glossary: words in their order, each in one sentence, with a page that uses it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| \[[^]]+\]\(([\w/-]+\.md)(?:#[\w-]+)?\) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    found = ROW.findall(text)
    assert len(found) == text.count("\n| ") - 1 > 70
    return found


def test_glossary_is_in_order_and_each_word_is_one_sentence() -> None:
    words = [word for word, _, _ in rows()]
    assert words == sorted(set(words), key=str.lower)
    assert [meaning for _, meaning, _ in rows() if re.search(r"\. |\.$", meaning)] == []


def test_page_of_each_word_of_the_glossary_uses_it() -> None:
    for word, _, page in rows():
        text = (DOCS / page).read_text(encoding="utf-8").lower()
        assert [part for part in re.findall(r"[a-z]{4,}", word) if part[:5] not in text] == [], (word, page)
