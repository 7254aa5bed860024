"""Retry policies: whether and when a failed function is called again.

The worker asks a policy `next(n)` after the n-th failure. The answer is a pause in seconds, or None to give up.
Policies are frozen values without state, so the number of the attempt is all that is stored::

    yield ctx.run(charge, order).options(retry_policy=Exponential(delay=2, max_retries=5, jitter="full"))

`Constant`, `Linear` and `Exponential` have three more arguments, by keyword:

- `jitter`: None (the default) keeps the pause as it is. "full" draws it from 0 to the pause, and "equal" from half the
  pause to the pause. `next` returns the pause without jitter. A pause that is recorded is not drawn again on replay.
- `retry_if`: a function of the error that returns whether to retry. None (the default) retries all errors.
- `non_retryable`: a tuple of exception types that are final, subclasses included. It is empty by default.

Their constructors raise a `TypeError` or `ValueError` for arguments that are not possible.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast, runtime_checkable

from msgspec import Struct
from msgspec.structs import force_setattr

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.validation import Seconds, require, seconds_of


@runtime_checkable
class RetryPolicy(Protocol):
    """Protocol of retry policies. A class with this `next` can be given as `retry_policy`."""

    def next(self, attempt: int) -> float | None:
        """Return the pause before the next attempt.

        Args:
            attempt: the number of failures so far; 0 before the first attempt.

        Returns:
            Seconds, or None to give up.
        """
        ...


class _Again(Struct, frozen=True, kw_only=True):
    """Base of the policies that retry."""

    jitter: Literal["full", "equal"] | None = None
    retry_if: Callable[[BaseException], bool] | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.jitter not in (None, "full", "equal"):
            raise ArgumentValueError(f'jitter must be "full", "equal" or None, got {self.jitter!r}')
        if not (self.retry_if is None or callable(self.retry_if)):
            raise ArgumentTypeError(f"retry_if must be a function of the error, got {type(self.retry_if).__name__}")
        kinds = cast("object", self.non_retryable)
        if not isinstance(kinds, tuple):
            raise ArgumentTypeError(f"non_retryable must be a tuple of exception types, got {kinds!r:.80}")
        for kind in cast("tuple[Any, ...]", kinds):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ArgumentTypeError(f"non_retryable must be a tuple of exception types, got {kind!r:.80} in it")

    def retries(self, error: BaseException) -> bool:
        """Return whether an attempt may follow the exception `error`."""
        if isinstance(error, self.non_retryable):
            return False
        return self.retry_if is None or bool(self.retry_if(error))

    def spread(self, pause: float, draw: Callable[[], float]) -> float:
        """Return a `pause` in seconds with its jitter; `draw` returns a random number from 0 to below 1."""
        if self.jitter is None:
            return pause
        return pause * draw() if self.jitter == "full" else pause * (1 + draw()) / 2


class Constant(_Again, frozen=True):
    """The same pause after every failure.

    Args:
        delay: the pause, in seconds or as a `timedelta`; 1 s by default.
        max_retries: the number of attempts after the first; without limit by default.
        jitter, retry_if, non_retryable: see the module.
    """

    delay: Seconds = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"))

    def next(self, attempt: int) -> float | None:
        """Return the pause in seconds after `attempt` failures, or None to give up."""
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return _seconds(self.delay) if attempt <= self.max_retries else None


class Linear(_Again, frozen=True):
    """A pause that grows with every failure: `delay * n` seconds after the n-th.

    Args:
        delay: the first pause, in seconds or as a `timedelta`; 1 s by default.
        max_retries: the number of attempts after the first; without limit by default.
        jitter, retry_if, non_retryable: see the module.
    """

    delay: Seconds = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"))

    def next(self, attempt: int) -> float | None:
        """Return the pause in seconds after `attempt` failures, or None to give up."""
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        if attempt == 0:
            return 0
        return _seconds(self.delay) * attempt if attempt <= self.max_retries else None


class Exponential(_Again, frozen=True):
    """A pause of `delay * factor ** n` seconds after the n-th failure, but at most `max_delay`.

    Args:
        delay: in seconds, or as a `timedelta`; 1 s by default, so that the pauses are 2, 4, 8, ... seconds.
        max_retries: the number of attempts after the first; without limit by default.
        factor: the base of the growth; 2 by default.
        max_delay: the longest pause, in seconds or as a `timedelta`; 30 s by default, `math.inf` for no limit.
        jitter, retry_if, non_retryable: see the module.
    """

    delay: Seconds = 1
    max_retries: int = sys.maxsize
    factor: float = 2
    max_delay: Seconds = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.max_retries, delay=_converted(self, "delay"), factor=self.factor)
        max_delay = _converted(self, "max_delay")
        if max_delay != math.inf:
            _check(self.max_retries, max_delay=max_delay)

    def next(self, attempt: int) -> float | None:
        """Return the pause in seconds after `attempt` failures, or None to give up."""
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
    """No retry: the first failure is final."""

    def next(self, attempt: int) -> float | None:
        """Return the pause in seconds after `attempt` failures, or None to give up."""
        assert attempt >= 0, "attempt must be greater than or equal to 0"
        return 0 if attempt == 0 else None


def _converted(policy: Struct, name: str) -> Any:
    """Replace a duration of a policy by its seconds, and return them."""
    seconds = seconds_of(getattr(policy, name))
    force_setattr(policy, name, seconds)
    return seconds


def _seconds(duration: Seconds) -> float:
    """Return a duration that `_converted` has made a number."""
    return cast("float", duration)


def _check(max_retries: int, **numbers: float) -> None:
    """Raise an error for numbers with which a retry would fail or never begin.

    Raises:
        TypeError: one of them is not a number.
        ValueError: one of them is negative or not finite.
    """
    require("max_retries", max_retries, int, "leave it out for no limit")
    if max_retries < 0:
        raise ArgumentValueError(f"max_retries must be at least 0, got {max_retries}: leave it out for no limit")
    for name, number in numbers.items():
        require(name, number, (int, float))
        if not 0 <= number < math.inf:
            raise ArgumentValueError(f"{name} must be finite and greater than or equal to zero, got {number}")


def pause_after(policy: RetryPolicy, attempt: int, error: BaseException, draw: Callable[[], float]) -> float | None:
    """Return the pause in seconds after this failure, or None if it is final.

    Args:
        policy: any policy. One of this module may also read the error and add jitter.
        attempt: the number of the attempt that failed, from 1.
        error: what it raised.
        draw: returns a random number from 0 to below 1; called only for jitter.

    Raises:
        TypeError, ValueError: the policy's answer is not a pause.
        Exception: the user's policy or `retry_if` raised it.
    """
    if not isinstance(policy, _Again):
        return _pause(policy, attempt)
    if not policy.retries(error):
        return None
    pause = policy.next(attempt)
    return None if pause is None else policy.spread(pause, draw)


def _pause(policy: RetryPolicy, attempt: int) -> float | None:
    """Return the answer of a user's policy as a float: it may be any number, such as a `Decimal`."""
    answer = cast("object", policy.next(attempt))
    if answer is None:
        return None
    asked = f"{type(policy).__name__}.next({attempt}) must be a pause in seconds or None, got {answer!r:.80}"
    if not hasattr(answer, "__float__"):
        raise ArgumentTypeError(asked)
    pause = float(cast("float", answer))
    if not pause >= 0:  # also true of not-a-number
        raise ArgumentValueError(asked)
    return pause
