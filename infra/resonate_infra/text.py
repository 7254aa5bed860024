"""Escaping of untrusted texts, such as ids, for terminals and log lines.

An id can contain characters that move the cursor, begin a new line or change the reading direction. So its author could
forge our output. These characters are escaped.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """Return the text with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
