"""Resources that all tasks of a process share: its store, its clocks, and the threads of functions and requests.

`Worker`, `TaskRun` and `Runtime` read them. Only a runtime changes them, when its threads start and stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from resonate.engine.blocking import WORTH_SUSPENDING_MS
from resonate.worker.async_functions import AsyncFunctions
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import Holder
from resonate_store.server_clock import time_of

if TYPE_CHECKING:
    from resonate.threads import Pool

A = TypeVar("A")
B = TypeVar("B")


class Resources:
    """Resources of all tasks that one process works on.

    Args:
        store: the store of the promises.
        clock: the source of time.
        functions: the threads of `begin_run` functions. Without them these run in the caller's thread, in the order of
            their creation.
        steps: the threads of functions that run one at a time and may outlive their timeout. Without them these run in
            the caller's thread, to their end.
        requests: the threads of independent store requests. Without them requests are made one after the other.
        async_functions: runs async functions; a new runner by default.

    Attributes:
        time: the clock of deadlines: that of the server, if it shows its time.
        one_clock: whether `time` is `clock`.
        underlying: the store itself, without the wrappers that encrypt or count.
        fences_records: whether the store fences records of steps by the version of their task.
        stopping: whether no function is started any more, and tasks with functions left to run are released.
        exhausted: called when this process has left behind as many threads as it may.
        successor: returns the process that may acquire the task of a caller at once. None if this process may not, or
            has no time.
        worth_suspending_ms: the longest sleep for which a worker waits without suspending.
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
        self.successor: Callable[[], Holder | None] = _no_successor
        self.worth_suspending_ms = WORTH_SUSPENDING_MS

    def resume(self, functions: Pool | None, steps: Pool, requests: Pool | None) -> None:
        """Allow functions to start, in these threads."""
        self.functions, self.steps, self.requests = functions, steps, requests
        self.stopping = False

    def stop(self) -> list[Pool]:
        """Start no more functions, and return the threads of those that run. The caller ends them."""
        self.stopping = True
        pools = [pool for pool in (self.functions, self.steps, self.requests) if pool is not None]
        self.functions = self.steps = self.requests = None
        return pools

    def map(self, function: Callable[[A], B], items: Sequence[A]) -> Iterable[B]:
        """Apply `function` to every item, in parallel if there are threads for store requests."""
        if self.requests is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self.requests.map(function, items))


def _nothing() -> None:
    """Do nothing: without a runtime, no source of tasks can be paused."""


def _no_successor() -> Holder | None:
    """Leave callers to the next invocation."""
    return None
