"""A handle on an execution: its id, and a way to wait for its outcome.

Making one asks nothing of the store. The first `result`, `done` or `await` does, and it can be asked again after a
timeout.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from resonate.encoders import Encoder
from resonate.payloads import codec
from resonate.process.promise_waiter import Watcher
from resonate.validation import Seconds, require, seconds_of
from resonate_store.model.records import PromiseView

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class Awaiter(Protocol):
    """Waits for promises on behalf of handles."""

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        """The settled promise, or None when `timeout` seconds have passed and it is pending still.

        Raises:
            ResonateStoreError: there is no such promise.
            ResonateHaltedError: its task is halted.
            ResonateShutdownError: this instance was stopped meanwhile.
        """
        ...


class Handle(Generic[T]):
    """Waits for one execution.

    Args:
        id: the execution's id.
        awaiter: waits for promises.
        annotation: the type that its result is restored to.
        encoder: reads the result, if it is not written as JSON.
        settled: its promise, if that is known to be settled.
    """

    def __init__(
        self,
        id: str,
        awaiter: Awaiter,
        annotation: Any = Any,
        encoder: Encoder[Any, str | None] | None = None,
        settled: PromiseView | None = None,
    ) -> None:
        self.id = id
        self._awaiter = awaiter
        self._annotation = annotation
        self._encoder = encoder
        self._settled = settled
        self._lock = threading.Lock()
        self._future: Future[T] | None = None

    def __repr__(self) -> str:
        return f"Handle(id={self.id!r})"

    def done(self) -> bool:
        """Whether the execution has an outcome by now."""
        return self._outcome(0) is not None

    def _outcome(self, timeout: float | None) -> PromiseView | None:
        """The settled promise, which stays as it is."""
        if self._settled is None:
            self._settled = self._awaiter.settled(self.id, timeout)
        return self._settled

    def result(self, timeout: Seconds | None = None) -> T:
        """Wait for the outcome and return it, or raise the error that the execution failed with.

        Args:
            timeout: how long to wait at most, a number of seconds or a `timedelta`; forever if None.

        Raises:
            TimeoutError: it is still running; the handle can be asked again.
            TypeError: `timeout` is no number.
        """
        timeout = cast("float | None", seconds_of(timeout))
        require("timeout", timeout, (int, float, type(None)), "in seconds")
        promise = self._outcome(timeout)
        if promise is None:
            raise TimeoutError(f"{self.id} has no outcome after {timeout} seconds")
        return codec.outcome_of(promise, self._annotation, self._encoder)

    @property
    def future(self) -> Future[T]:
        """A future with the same outcome; asking for it starts a thread that waits."""
        with self._lock:
            if self._future is None:
                from concurrent.futures import Future

                self._future = Future()
                # Running from the start: whoever gives up waiting for it does not cancel it for the others.
                self._future.set_running_or_notify_cancel()
                Watcher(f"resonate-{self.id}", partial(self._complete, self._future)).start()
            return self._future

    def _complete(self, future: Future[T]) -> None:
        try:
            result = self.result()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # most programs never await a handle, and loading asyncio takes longer than all of ours

        return asyncio.wrap_future(self.future).__await__()
