"""Untrusted texts, such as ids and tags: escaping for terminals and log lines, and numbers.

An id can contain characters that move the cursor, begin a new line or change the reading direction. So its author could
forge our output. These characters are escaped.
"""

from __future__ import annotations

MOST_DIGITS = 15
"""Maximum number of digits of a number in a tag. Python refuses to convert thousands."""


def number_in(text: str) -> int | None:
    """Return the number that a text is, or None if it is not one, or is too long to be one of ours."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def plain(text: str) -> str:
    """Return the text with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
