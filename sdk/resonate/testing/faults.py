"""Arranged trouble: steps that fail, workers that die, messages that get lost or come twice.

Both stacks put the worker between the same two hooks. One stands before every function of the user's that a worker
calls, the other before every request that it makes of its store; a fail-point is a place at one of them, what happens
there, and how often. A killed worker is gone like a process: `Killed` is no `Exception`, nothing in the worker catches
it, and its task waits for the end of its lease.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeVar
from unittest.mock import patch

from resonate.engine.exits import EndOfProcess
from resonate.engine.model import Opening, Outcome, Work
from resonate.worker import calls
from resonate.worker.async_functions import AsyncFunctions

T = TypeVar("T")
Moment = Literal["instead", "before", "after"]


class Killed(EndOfProcess):
    """Stands for the end of a process in the middle of what it was doing; no handler gets to catch it."""


class FailPoint:
    """Trouble at one place.

    Attributes:
        where: a function's name, the id of a step's promise, or the kind of a request such as `promise.record`.
        moment: `before` or `after` it the worker dies; `instead` of it `error` is raised.
        left: how often it will happen still.
        hits: how often it has happened.
    """

    def __init__(self, where: str, moment: Moment, times: int, error: BaseException, id: str | None = None) -> None:
        if times < 1:
            raise ValueError(f"a fail-point happens at least once, got times={times}")
        self.where = where
        self.moment = moment
        self.left = times
        self.hits = 0
        self._error = error
        self._id = id

    def __repr__(self) -> str:
        return f"FailPoint({self.moment} {self.where}, {self.hits} hits, {self.left} left)"

    def meet(self, names: tuple[str, ...], moment: Moment, id: str) -> None:
        """Raise what is arranged, if this is the place.

        Args:
            names: what the place is called.
            moment: whether it is about to happen or has happened.
            id: the promise that it is about.
        """
        if self.left and self.moment == moment and self.where in names and self._id in (None, id):
            self.left -= 1
            self.hits += 1
            raise self._error


class FailPoints:
    """All fail-points of a stack, in the order in which they were set."""

    def __init__(self) -> None:
        self._points: list[FailPoint] = []

    def add(self, point: FailPoint) -> FailPoint:
        self._points.append(point)
        return point

    def clear(self) -> None:
        self._points.clear()

    def around(self, names: tuple[str, ...], id: str, act: Callable[[], T]) -> T:
        """Do something at a place that may have fail-points; what turns out to go on elsewhere has none after it."""
        if not self._points:
            return act()
        self._meet(names, id, "before")
        self._meet(names, id, "instead")
        result = act()
        if not isinstance(result, Opening):
            self._meet(names, id, "after")
        return result

    @contextmanager
    def around_functions(self) -> Generator[None]:
        """For as long as the block runs, every function that a worker calls in this process is such a place."""
        call = calls.call

        def called(work: Work, async_functions: AsyncFunctions) -> Outcome | Opening | None:
            try:
                return self.around((work.name, work.node.id), work.node.id, lambda: call(work, async_functions))
            except Exception as error:
                return None, error

        with patch.object(calls, "call", called):
            yield

    def _meet(self, names: tuple[str, ...], id: str, moment: Moment) -> None:
        for point in self._points:
            point.meet(names, moment, id)


class MessageFaults:
    """What becomes of the messages that offer tasks to workers."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Deliver each once, from now on."""
        self.twice = False
        self._losing = 0

    def lose(self, times: int | None) -> None:
        """Lose that many more; all of them for None, none for 0.

        Raises:
            ValueError: the number is negative.
        """
        if times is not None and times < 0:
            raise ValueError(f"a number of messages is not negative, got {times}")
        self._losing = -1 if times is None else times

    def copies(self) -> int:
        """How often the next one arrives: 0, 1 or 2."""
        if self._losing:
            self._losing -= self._losing > 0
            return 0
        return 2 if self.twice else 1
