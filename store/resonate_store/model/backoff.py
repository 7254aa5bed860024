"""Pauses between repeated tries of one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MAX_EXPONENT: Final = 60
"""Every pause has reached its maximum before this exponent. A larger one could overflow."""


class Backoff:
    """Pauses that grow from try to try up to a maximum.

    Args:
        first_ms: the pause (ms) after the first try.
        longest_ms: the maximum (ms) of a pause.
        factor: the ratio of two consecutive pauses.
        spread: the largest part of a pause that is left out at random, from 0 to 1.
        chance: returns random numbers in [0, 1). They spread the pauses of clients that try at the same time. The
            default always returns 0, so pauses are not shortened.
    """

    def __init__(
        self,
        first_ms: int,
        longest_ms: int,
        *,
        factor: float = 2,
        spread: float = 0,
        chance: Callable[[], float] = float,
    ) -> None:
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._factor = factor
        self._spread = spread
        self._chance = chance

    def pause_ms(self, tries: int) -> int:
        """Return the pause (ms) after the given number of tries, 1 or more."""
        longest_ms = min(self._longest_ms, self._first_ms * self._factor ** min(tries - 1, _MAX_EXPONENT))
        return max(1, round(longest_ms * (1 - self._spread * self._chance())))
