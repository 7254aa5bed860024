"""Commands for what differs at each run: the time, and random numbers.

A workflow must take the same path when it is replayed. So `ctx.time` and `ctx.random` return commands, and their
outcomes are recorded like those of steps. If the dependencies `resonate:time` or `resonate:random` are set, they
replace the clock and Python's generator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from resonate.retry_policies import Never
from resonate.workflow.commands import LFC
from resonate.workflow.options import Options
from resonate_store.model.clock import ambient

if TYPE_CHECKING:
    from random import Random as Source

T = TypeVar("T")

RANDOM = "resonate:random"
"""The dependency that draws random numbers, if it is set."""

# A retry cannot succeed: only wrong arguments make these steps fail.
_ONCE = Options(retry_policy=Never())


class HasDependencies(Protocol):
    """Protocol of the context that the steps below use."""

    def get_dependency(self, key: str, default: Any) -> Any: ...


class Time:
    """Commands that give the time."""

    __slots__ = ()

    def time(self) -> LFC[float]:
        """Return a command that gives the seconds since the epoch, like `time.time()`."""
        return LFC(_time, "time.time", (), {}, _ONCE)

    def strftime(self, format: str) -> LFC[str]:
        """Return a command that gives the local time as text, like `time.strftime(format)`."""
        return LFC(_strftime, "time.strftime", (format,), {}, _ONCE)


class Random:
    """Commands that give random numbers. Each method is like that of the same name in Python's `random`."""

    __slots__ = ()

    def betavariate(self, alpha: float, beta: float) -> LFC[float]:
        return _drawn("betavariate", alpha, beta)

    def choice(self, seq: Sequence[T]) -> LFC[T]:
        return _drawn("choice", seq)

    def expovariate(self, lambd: float = 1) -> LFC[float]:
        return _drawn("expovariate", lambd)

    def getrandbits(self, k: int) -> LFC[int]:
        return _drawn("getrandbits", k)

    def randint(self, a: int, b: int) -> LFC[int]:
        return _drawn("randint", a, b)

    def random(self) -> LFC[float]:
        return _drawn("random")

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> LFC[int]:
        return _drawn("randrange", start, stop, step)

    def triangular(self, low: float = 0, high: float = 1, mode: float | None = None) -> LFC[float]:
        return _drawn("triangular", low, high, mode)


def _time(ctx: HasDependencies) -> float:
    source = ctx.get_dependency("resonate:time", None)
    return ambient().now() / 1000 if source is None else source.time()


def _strftime(ctx: HasDependencies, format: str) -> str:
    source = ctx.get_dependency("resonate:time", None)
    if source is not None:
        return source.strftime(format)
    return datetime.fromtimestamp(ambient().now() / 1000).astimezone().strftime(format)


def _drawn(name: str, *args: Any) -> LFC[Any]:
    return LFC(_draw, f"random.{name}", (name, *args), {}, _ONCE)


def _draw(ctx: HasDependencies, name: str, *args: Any) -> Any:
    draw: Callable[..., Any] = getattr(ctx.get_dependency(RANDOM, None) or _source(), name)
    return draw(*args)


def source_of_chance(dependencies: Mapping[str, Any]) -> Source:
    """Return the generator of random numbers: the dependency for it, or Python's."""
    return dependencies.get(RANDOM) or _source()


@functools.cache
def _source() -> Source:
    from random import Random as Source  # here, because it would cost every cold start milliseconds

    return Source()
