"""What the workflows under test have done, kept outside of the worker: it survives every kill."""

from collections import Counter

runs: Counter[str] = Counter()
"""How often each function has run, by the id of its promise."""
asked: list[str] = []
"""Ids of promises that workflows left for others to settle, in order."""


def clear() -> None:
    runs.clear()
    asked.clear()
