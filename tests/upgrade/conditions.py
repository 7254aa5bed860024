"""What the workflows of these tests meet outside of themselves, and what they have done there.

The offline stack loads the workflows anew for each process. This module is imported once, so its state is shared by all
of them and by the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

release = "then"
"""Who runs a step: the release that wrote the fixtures ("then"), or the one under test ("now"). Steps return it."""
broken: set[str] = set()
"""Names of the steps that fail."""
runs: Counter[str] = Counter()
"""How often each step ran, by the id of its promise."""
detour = False
"""Whether the workflow `changed` takes a path that its history does not have."""
wait: Callable[[int], object] = lambda _milliseconds: None
"""Lets time pass in a step, in milliseconds."""


def reset(who: str) -> None:
    """Let everything work, and let `who` run the steps from here on."""
    global release, detour, wait
    release, detour, wait = who, False, lambda _milliseconds: None
    broken.clear()
    runs.clear()


class OutOfStock(Exception):
    """An error of the program's own. The module it is from has one name in all processes."""


class Declined(Exception):
    """An error with attributes."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.amount = Decimal("9.90")
        self.body = b"\x00\xff"
        self.inner = ValueError("too little")
        self.details = {"card": "1234", "tries": [1, 2]}


class Dice:
    """The chance of these workflows: each release throws its own number."""

    def randint(self, a: int, b: int) -> int:  # noqa: ARG002
        return 3 if release == "then" else 5

    def random(self) -> float:
        return 0.25 if release == "then" else 0.75

    def getrandbits(self, k: int) -> int:  # noqa: ARG002
        return 11 if release == "then" else 22
