"""Pauses between the tries of one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MAX_EXPONENT: Final = 60
"""A pause has reached its maximum long before; a larger power could overflow."""


class Backoff:
    """Pauses that grow from try to try up to a maximum.

    Args:
        first_ms: the pause after the first try.
        longest_ms: the maximum.
        factor: of two consecutive pauses.
        spread: the part of each pause that chance may take away, from 0 to 1.
        chance: random numbers in [0, 1); they spread the pauses of those who try at the same time.
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
        """Return the pause after so many tries, 1 or more."""
        longest_ms = min(self._longest_ms, self._first_ms * self._factor ** min(tries - 1, _MAX_EXPONENT))
        return max(1, round(longest_ms * (1 - self._spread * self._chance())))
