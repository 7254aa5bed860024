"""Escaped text."""

from __future__ import annotations

from resonate_infra.text import plain


def test_plain_escapes_what_cannot_be_printed() -> None:
    assert plain("größe\n\x1b[2J\u202e") == "größe\\n\\x1b[2J\\u202e"
    assert plain("größe 1/2 \\n") == "größe 1/2 \\n"
