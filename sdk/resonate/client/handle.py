"""Handle on an execution: its id, and its outcome.

A new handle makes no request. `result`, `done` and `await` read the promise, and can be called again after a timeout.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, overload

from resonate.client.cancellation import Canceling, answer_in, request_of
from resonate.encoders import Encoder
from resonate.engine.functions.current import CURRENT
from resonate.errors import ProgramError
from resonate.payloads import codec
from resonate.process.promise_waiter import Watcher
from resonate.validation import Seconds, require, seconds_of
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Request, Response

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class Awaiter(Protocol):
    """Protocol of an object that waits for promises on behalf of handles."""

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        """Return the settled promise, or None if it is still pending after `timeout` seconds.

        Raises:
            ResonateStoreError: the promise does not exist.
            ResonateHaltedError: its task is halted.
            ResonateShutdownError: `stop` was called meanwhile.
        """
        ...

    def ask(self, request: Request) -> Response:
        """Make a request to the store of the promises."""
        ...


class Handle(Generic[T]):
    """Handle on one execution::

        handle = resonate.begin_run("greet-ada", greet, "ada")
        handle.result()

    In an async program, `await handle` gives the result too.

    Args:
        id: the id of the execution.
        awaiter: waits for its promise.
        annotation: the type that its result is restored to.
        encoder: decodes the result, instead of JSON.
        settled: its promise, if it is known to be settled.
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
        """Return whether the execution has an outcome."""
        return self._outcome(0) is not None

    def _outcome(self, timeout: float | None) -> PromiseView | None:
        """Return the settled promise, which does not change any more, or None."""
        if self._settled is None:
            self._settled = self._awaiter.settled(self.id, timeout)
        return self._settled

    def result(self, timeout: Seconds | None = None) -> T:
        """Wait for the outcome. Return the result, or raise the error that the execution failed with.

        Args:
            timeout: how long to wait, in seconds or as a `timedelta`; without limit by default.

        Raises:
            TimeoutError: the execution has no outcome yet. The call can be repeated.
            TypeError: `timeout` is not a number.
            ResonateTimedoutError: the execution timed out.
            ResonateCanceledError: it was cancelled.
            ResonateHaltedError: its task is halted.
            ResonateShutdownError: `Resonate.stop()` was called meanwhile.
            ResultTypeError: the result does not fit the `result_type` that was given.
            Exception: the error that the function failed with.
        """
        timeout = cast("float | None", seconds_of(timeout))
        require("timeout", timeout, (int, float, type(None)), "in seconds")
        promise = self._outcome(timeout)
        if promise is None:
            raise TimeoutError(f"{self.id} has no outcome after {timeout} seconds")
        return codec.outcome_of(promise, self._annotation, self._encoder)

    def cancel(self, reason: str = "", *, force: bool = False) -> Canceling:
        """Cancel the execution; see `Resonate.cancel`."""
        return answer_in(self._awaiter.ask(request_of(self.id, reason, force)), self.id)

    @overload
    def published(self, key: str) -> Any: ...
    @overload
    def published(self) -> dict[str, Any]: ...
    def published(self, key: str | None = None) -> Any:
        """Return what the execution has published by `ctx.publish`, also while it runs.

        Args:
            key: the key of the value. Without it, all values are returned, by their keys.

        Returns:
            The latest value of the key, as plain JSON data, or None if nothing was published under it.

        Raises:
            ResonateStoreError: the store refuses the request.
            PayloadError: a value cannot be read.
        """
        from resonate.client import messages  # here, because most programs publish nothing

        ask = self._awaiter.ask
        return messages.all_published(ask, self.id) if key is None else messages.published(ask, self.id, key)

    @property
    def future(self) -> Future[T]:
        """A future with the same outcome. The first access starts a thread that waits."""
        with self._lock:
            if self._future is None:
                from concurrent.futures import Future

                self._future = Future()
                # Mark it as running, so that one caller cannot cancel it for all.
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
        if CURRENT.workflow:
            raise ProgramError(
                f"workflow {CURRENT.workflow} awaits {self!r}, and a handle is for programs outside of workflows: call"
                " the function by `await ctx.rpc(...)`"
            )
        import asyncio  # here, because it loads slowly, and most programs do not await handles

        return asyncio.wrap_future(self.future).__await__()
