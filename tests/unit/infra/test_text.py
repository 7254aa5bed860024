"""Text of others where people read it."""

from __future__ import annotations

from resonate_infra.text import plain


def test_text_that_cannot_be_printed_is_escaped() -> None:
    assert plain("größe\n\x1b[2J\u202e") == "größe\\n\\x1b[2J\\u202e"


def test_other_text_stays_as_it_is() -> None:
    assert plain("größe 1/2 \\n") == "größe 1/2 \\n"
