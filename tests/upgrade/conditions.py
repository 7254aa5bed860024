"""State outside of the workflows of these tests: which steps fail, and which have run.

The offline stack loads the workflows anew for each process. It imports this module once, so all processes and the test
share its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

release = "then"
"""Release that runs a step: "then" wrote the fixtures, "now" is under test. Steps return it."""
broken: set[str] = set()
"""Names of the steps that fail."""
runs: Counter[str] = Counter()
"""Number of runs of each step, by the id of its promise."""
detour = False
"""Whether the workflow `changed` differs from its history."""
wait: Callable[[int], object] = id
"""Called by a step that takes some time, with its milliseconds. By default it does nothing."""


def reset(by: str) -> None:
    """Let each step succeed, and let the release `by` run the steps."""
    global release, detour, wait
    release, detour, wait = by, False, id
    broken.clear()
    runs.clear()


class OutOfStock(Exception):
    """Error of the program. Its module has the same name in all processes."""


class Declined(Exception):
    """Error with attributes."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.amount = Decimal("9.90")
        self.body = b"\x00\xff"
        self.inner = ValueError("too little")
        self.details = {"card": "1234", "tries": [1, 2]}


class Dice:
    """Random numbers of these workflows, which differ for each release."""

    def randint(self, a: int, b: int) -> int:  # noqa: ARG002
        return 3 if release == "then" else 5

    def random(self) -> float:
        return 0.25 if release == "then" else 0.75

    def getrandbits(self, k: int) -> int:  # noqa: ARG002
        return 11 if release == "then" else 22
