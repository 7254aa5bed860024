"""Text of others, such as ids, where people read it: on a terminal, and in the lines of a log.

What could move the cursor, begin a line of its own or turn the reading direction around would let whoever chose an id
say things in our name.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with everything escaped that is not to be seen."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
