"""When a failed step runs again.

A policy is asked `next(n)` after the n-th failure and answers with a pause in seconds, or None to give up.
Pauses are given in seconds or as a `timedelta`. Policies are frozen values without state of their own, so the
number of an attempt is all that has to survive.

The three that try again can be told more, by keyword: `jitter` spreads the pauses of those who failed together, "full"
over all of the pause and "equal" over its second half; `retry_if` is asked about the error, and `non_retryable` names
types of errors that are final, subclasses included. `next` gives the pause before it is spread. Chance is drawn by
whoever asks, and a pause that is recorded is not drawn again on replay.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast, runtime_checkable

from msgspec import Struct
from msgspec.structs import force_setattr

from resonate.validation import Seconds, require, seconds_of


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides whether and when a step runs again."""

    def next(self, attempt: int) -> float | None:
        """The pause in seconds after `attempt` failures (0 before the first attempt), or None to give up."""
        ...


class _Again(Struct, frozen=True, kw_only=True):
    """What the policies that try again have in common."""

    jitter: Literal["full", "equal"] | None = None
    retry_if: Callable[[BaseException], bool] | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.jitter not in (None, "full", "equal"):
            raise ValueError(f'jitter must be "full", "equal" or None, got {self.jitter!r}')
        if not (self.retry_if is None or callable(self.retry_if)):
            raise TypeError(f"retry_if must be a function of the error, got {type(self.retry_if).__name__}")
        kinds = cast("object", self.non_retryable)
        if not isinstance(kinds, tuple):
            raise TypeError(f"non_retryable must be a tuple of exception types, got {kinds!r:.80}")
        for kind in cast("tuple[Any, ...]", kinds):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"non_retryable must be a tuple of exception types, got {kind!r:.80} in it")

    def retries(self, error: BaseException) -> bool:
        """Whether this error may be followed by another attempt at all."""
        if isinstance(error, self.non_retryable):
            return False
        return self.retry_if is None or bool(self.retry_if(error))

    def spread(self, pause: float, draw: Callable[[], float]) -> float:
        """The pause with its jitter; `draw` gives a number from 0 up to 1."""
        if self.jitter is None:
            return pause
        return pause * draw() if self.jitter == "full" else pause * (1 + draw()) / 2


class Constant(_Again, frozen=True):
    """Always the same pause of `delay` seconds, at most `max_retries` times."""

    delay: Seconds = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"))

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return _seconds(self.delay) if attempt <= self.max_retries else None


class Linear(_Again, frozen=True):
    """A pause that grows by `delay` seconds with every failure, at most `max_retries` times."""

    delay: Seconds = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"))

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return _seconds(self.delay) * attempt if attempt <= self.max_retries else None


class Exponential(_Again, frozen=True):
    """A pause of `delay * factor ** n` seconds after the n-th failure, at most `max_delay`, and `max_retries` times."""

    delay: Seconds = 1
    max_retries: int = sys.maxsize
    factor: float = 2
    max_delay: Seconds = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"), factor=self.factor)
        max_delay = _converted(self, "max_delay")
        if max_delay != math.inf:  # which means that there is no upper limit
            _check(self.max_retries, max_delay=max_delay)

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        if attempt > self.max_retries:
            return None
        try:
            return min(_seconds(self.delay) * self.factor**attempt, _seconds(self.max_delay))
        except OverflowError:
            return _seconds(self.max_delay)


class Never(Struct, frozen=True):
    """The first failure is final."""

    def next(self, attempt: int) -> float | None:
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        return 0 if attempt == 0 else None


def _converted(policy: Struct, name: str) -> Any:
    """A duration of a policy in seconds, which the policy keeps."""
    seconds = seconds_of(getattr(policy, name))
    force_setattr(policy, name, seconds)
    return seconds


def _seconds(duration: Seconds) -> float:
    """What a policy keeps of a duration is a number."""
    return cast("float", duration)


def _check(max_retries: int, **numbers: float) -> None:
    """Refuse what would fail only when a step does, or make it wait for ever.

    Raises:
        TypeError, ValueError: the number of retries, or one of the other numbers, is none, or cannot be.
    """
    require("max_retries", max_retries, int, "leave it out for no limit")
    if max_retries < 0:
        raise ValueError(f"max_retries must be at least 0, got {max_retries}: leave it out for no limit")
    for name, number in numbers.items():
        require(name, number, (int, float))
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be finite and greater than or equal to zero, got {number}")


def pause_after(policy: RetryPolicy, attempt: int, error: BaseException, draw: Callable[[], float]) -> float | None:
    """The pause in seconds after this failure of the attempt, or None when it is final.

    Args:
        policy: any policy; one of our own may look at the error and spread the pause.
        attempt: the number of the attempt that has failed, from 1.
        error: what it failed with.
        draw: gives a random number from 0 up to 1, and is asked only for jitter.

    Raises:
        TypeError, ValueError: the policy answers with something else than a pause.
        Exception: whatever the code of a user's own policy, or its `retry_if`, raises.
    """
    if not isinstance(policy, _Again):
        return _pause(policy, attempt)
    if not policy.retries(error):
        return None
    pause = policy.next(attempt)
    return None if pause is None else policy.spread(pause, draw)


def _pause(policy: RetryPolicy, attempt: int) -> float | None:
    """The answer of a policy that is not ours: it may be any number, such as a `Decimal`."""
    answer = cast("object", policy.next(attempt))
    if answer is None:
        return None
    asked = f"{type(policy).__name__}.next({attempt}) must be a pause in seconds or None, got {answer!r:.80}"
    if not hasattr(answer, "__float__"):
        raise TypeError(asked)
    pause = float(cast("float", answer))
    if not pause >= 0:  # which also refuses what is not a number
        raise ValueError(asked)
    return pause
