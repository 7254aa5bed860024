"""Extension of the reader of docstrings: examples in docstrings become blocks of Python in the site."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

# Docstrings mark an example like reStructuredText: by two colons and an indented block.
_MARK = re.compile(r"::[ ]*$", re.MULTILINE)


class Examples(Extension):
    """Ends the sentence before an example with one colon."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of each object that is read."""
        if obj.docstring is not None:
            obj.docstring.value = _MARK.sub(":", obj.docstring.value)
