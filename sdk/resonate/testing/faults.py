"""Faults for tests: steps that fail, workers that are killed, and messages that are lost or duplicated.

A fail-point can be at two kinds of place in a worker: a call of a user's function, or a request to the store. It says
what happens there, and how often. A killed worker is like a process that has ended: `Killed` is not an `Exception`, so
the worker does not catch it. Its task is offered again when its lease ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeVar
from unittest.mock import patch

from resonate.engine.functions.exits import EndOfProcess
from resonate.engine.model import Opening, Outcome, Work
from resonate.worker import calls
from resonate.worker.async_functions import AsyncFunctions

T = TypeVar("T")
Moment = Literal["instead", "before", "after"]


class Killed(EndOfProcess):
    """Simulated end of the worker's process, which handlers cannot catch."""


class FailPoint:
    """Fault at one place, from `MemoryStack.fail` or `MemoryStack.crash`.

    Args:
        times: how often it happens.
        error: what is raised.
        id: the execution in which it happens; all by default.

    Attributes:
        where: the name of a function, the id of a step's promise, or a kind of request such as `promise.record`.
        moment: "before" or "after" the place, the worker is killed; "instead" of it, `error` is raised.
        left: how often the fault is still to happen.
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
        """Raise the error of this fail-point, if this is its place.

        Args:
            names: the names of the place.
            moment: "before", "instead" or "after".
            id: the promise that is called or requested.
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
        """Call `act` at a place that may have fail-points.

        An async function that awaits a command continues elsewhere, so it has no fail-point "after" it.
        """
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
        """Carry out fail-points also at the calls of users' functions in this process, while the block runs."""
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
    """Faults of the messages that offer tasks to workers."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Deliver each message once, from now on."""
        self.twice = False
        self._losing = 0

    def lose(self, times: int | None) -> None:
        """Lose that many messages from now on; None loses all of them, 0 none.

        Raises:
            ValueError: the number is negative.
        """
        if times is not None and times < 0:
            raise ValueError(f"a number of messages is not negative, got {times}")
        self._losing = -1 if times is None else times

    def copies(self) -> int:
        """Return how often the next message is delivered: 0, 1 or 2."""
        if self._losing:
            self._losing -= self._losing > 0
            return 0
        return 2 if self.twice else 1
