"""Explanations of codes."""

from __future__ import annotations

import re

import pytest

from resonate_infra.explanations import PAGES, explanation_of, explanations, page_at
from resonate_infra.lint.rules import RULES


def test_rules_and_statuses_have_an_explanation() -> None:
    codes = [each.code for each in explanations()]
    assert len(codes) == len(set(codes))
    assert {*RULES, "404", "429", "PayloadError"} <= set(codes)
    assert all(each.text and each.title.startswith((each.code, "Status")) for each in explanations())


def test_explanation_is_the_section_of_the_page(subtests: pytest.Subtests) -> None:
    pages = {page: re.sub(r"\]\([^)]*\)", "", page_at(page).read_text(encoding="utf-8")) for page in PAGES}
    for each in explanations():
        if not each.code.isdecimal():
            with subtests.test(each.code):
                section = pages[each.page].partition(f"\n### {each.title}\n")[2]
                text = re.sub(r" \(docs/[^)]*\)", "", each.text)
                assert section.replace("[", "").strip().startswith(text.replace("[", ""))
                assert section.replace("[", "").strip().removeprefix(text.replace("[", "")).lstrip()[:2] in ("##", "")


@pytest.mark.parametrize("code", ["PayloadError", "payloaderror", "resonate.errors.PayloadError", " PayloadError "])
def test_explanation_is_found_by_any_spelling(code: str) -> None:
    assert explanation_of(code).code == "PayloadError"


def test_links_become_text() -> None:
    assert "](" not in "".join(each.text for each in explanations())
    assert "permissions (docs/security.md)" in explanation_of("StoreError").text
    assert "See Missing." in explanation_of("NoSuchObject").text


def test_unknown_code_names_a_similar_one() -> None:
    with pytest.raises(LookupError, match="did you mean PayloadError"):
        explanation_of("PayloadErorr")
    with pytest.raises(LookupError, match="it is not an error, a lint rule or a status"):
        explanation_of("xyzzy")
