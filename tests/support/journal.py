"""What the workflows under test have done, kept outside of the worker: it survives every kill."""

import threading
from collections import Counter

runs: Counter[str] = Counter()
"""How often each function has run, by the id of its promise."""
asked: list[str] = []
"""Ids of promises that workflows left for others to settle, in order."""

enough = threading.Event()
"""Lets the steps return that have outlived their timeouts."""

returned = threading.Event()
"""Set when such a step has returned."""


def clear() -> None:
    enough.clear()
    returned.clear()
    runs.clear()
    asked.clear()
