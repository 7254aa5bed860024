"""Sentences that a page shows after a form was sent. The URL of the page has only their number."""

from __future__ import annotations

from collections import OrderedDict

from resonate_store.model.ids import random_id

MOST_NOTICES = 200
"""Maximum number of sentences that are kept."""


class Notices:
    """Latest sentences, by random ids."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()

    def add(self, text: str) -> str:
        """Keep a sentence and return its id."""
        id = random_id()[:8]
        self._kept[id] = text
        if len(self._kept) > MOST_NOTICES:
            self._kept.popitem(last=False)
        return id

    def get(self, id: str) -> str:
        """Return a sentence, or an empty text."""
        return self._kept.get(id, "")
