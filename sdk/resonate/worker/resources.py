"""What all tasks of a process share: its store, its clocks, and the threads that functions and requests run in.

`Worker`, `TaskRun` and `Runtime` read it. A runtime alone changes it, when its threads start and when they stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from resonate.engine.blocking import WORTH_SUSPENDING_MS
from resonate.worker.async_functions import AsyncFunctions
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.server_clock import time_of

if TYPE_CHECKING:
    from resonate.threads import Pool

A = TypeVar("A")
B = TypeVar("B")


class Resources:
    """Shared by all tasks that one process works on.

    Args:
        store: where promises live.
        clock: the source of time.
        functions: runs `begin_run` functions; without it they run in the caller's thread, in creation order.
        steps: the threads of functions that run one at a time but may outlive their time; without them they run in the
            caller's thread, to their end.
        requests: runs independent store requests in parallel; without it they run one after the other.
        async_functions: runs async functions; of its own if not given.

    Attributes:
        time: deadlines are computed in it: the server's time, if there is a server that tells it.
        one_clock: whether that is the clock itself.
        underlying: the store itself, without what encrypts for it or counts.
        fences_records: whether the store fences records of steps by the version of their task.
        stopping: whether no function is started any more, and tasks with functions left to run are handed over.
        exhausted: called when this process has left behind as many threads as it may.
        worth_suspending_ms: a sleep that is not longer than this is waited out in the thread.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        functions: Pool | None = None,
        steps: Pool | None = None,
        requests: Pool | None = None,
        async_functions: AsyncFunctions | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.time = time_of(store, clock)
        self.one_clock = self.time is clock
        self.underlying = store.underlying
        self.fences_records = store.fences_records
        self.functions = functions
        self.steps = steps
        self.requests = requests
        self.async_functions = async_functions or AsyncFunctions()
        self.stopping = False
        self.exhausted: Callable[[], None] = _nothing
        self.worth_suspending_ms = WORTH_SUSPENDING_MS

    def resume(self, functions: Pool | None, steps: Pool, requests: Pool | None) -> None:
        """Let functions start, in these threads."""
        self.functions, self.steps, self.requests = functions, steps, requests
        self.stopping = False

    def stop(self) -> list[Pool]:
        """Let no function start any more, and return the threads of those that run: the caller ends them."""
        self.stopping = True
        pools = [pool for pool in (self.functions, self.steps, self.requests) if pool is not None]
        self.functions = self.steps = self.requests = None
        return pools

    def map(self, function: Callable[[A], B], items: Sequence[A]) -> Iterable[B]:
        """Apply `function` to every item, in parallel where there is an executor for store requests."""
        if self.requests is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self.requests.map(function, items))


def _nothing() -> None:
    """Without a runtime there is no source of tasks to pause."""
