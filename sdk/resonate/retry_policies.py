"""When a failed step runs again.

A policy is asked `next(n)` after the n-th failure and answers with a pause in seconds, or None to give up (REFERENCE
5.7). Policies are frozen values without state of their own, so the number of an attempt is all that has to survive.
"""

from __future__ import annotations

import sys
from typing import Protocol, runtime_checkable

from msgspec import Struct


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides whether and when a step runs again."""

    def next(self, attempt: int) -> float | None:
        """The pause in seconds after `attempt` failures (0 before the first attempt), or None to give up."""
        ...


class Constant(Struct, frozen=True):
    """Always the same pause of `delay` seconds."""

    delay: float = 1
    max_retries: int = sys.maxsize

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return self.delay if attempt <= self.max_retries else None


class Linear(Struct, frozen=True):
    """A pause that grows by `delay` seconds with every failure."""

    delay: float = 1
    max_retries: int = sys.maxsize

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return self.delay * attempt if attempt <= self.max_retries else None


class Exponential(Struct, frozen=True):
    """A pause of `delay * factor ** n` seconds after the n-th failure, at most `max_delay`."""

    delay: float = 1
    max_retries: int = sys.maxsize
    factor: float = 2
    max_delay: float = 30

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        if attempt > self.max_retries:
            return None
        try:
            return min(self.delay * self.factor**attempt, self.max_delay)
        except OverflowError:
            return self.max_delay


class Never(Struct, frozen=True):
    """The first failure is final."""

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        return 0 if attempt == 0 else None
