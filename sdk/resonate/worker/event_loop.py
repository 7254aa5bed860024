"""Event loop for async functions (`async_functions`), which recognises commands.

An async function is a step until it awaits a command. Then it becomes a workflow and leaves the loop, and the
interpreter runs it like a generator. A replay must be able to repeat a workflow from its records, and the results of a
loop are not recorded. So one function must not await both: if it does, it gets an error that says so. No function is
called twice to find out what it is.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import types
import weakref
from collections.abc import Callable, Generator
from typing import Any

from resonate.engine.functions.async_workflow import is_ours
from resonate.engine.functions.exits import failure_of, is_outcome_of_test
from resonate.engine.functions.interception import InterceptedWorkflow
from resonate.engine.model import Opening, Outcome, Resumable, Work
from resonate.worker.abandoned import abandoned
from resonate.workflow.awaits import MixedAwaits, coroutines_of_functions, running_function

_timers: contextvars.ContextVar[weakref.WeakSet[asyncio.TimerHandle]] = contextvars.ContextVar("timers")
"""The timers that a function has set in the loop. A timeout around a command would be one, and would have no effect."""
_Base = asyncio.ProactorEventLoop if sys.platform == "win32" else asyncio.SelectorEventLoop


class EventLoop(_Base):
    """The platform's usual loop, which runs async functions and refuses commands as tasks.

    Attributes:
        thread: where it runs, once the caller has started it.
        given_up: whether a function was given up whose timeout had passed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.Thread(target=_run, args=(self,), name="resonate-event-loop", daemon=True)
        self.given_up = False
        self._calls: dict[Work, asyncio.Task[Outcome | Opening]] = {}
        self._earlier: set[asyncio.Task[Outcome | Opening]] = set()
        """The attempts that were given up and still run, although another attempt of their function has begun."""
        self._cancelling = self._left = False

    def submit(self, work: Work, then: Callable[[Outcome | Opening | None], None]) -> None:
        """Run a function; see `AsyncFunctions.submit`."""
        context, outside = contextvars.copy_context(), contextvars.Context()

        def ended(task: asyncio.Task[Outcome | Opening]) -> None:
            if self._calls.get(work) is task:
                del self._calls[work]
            else:
                self._earlier.discard(task)
            try:
                outcome = task.result()
            except BaseException as error:  # such as CancelledError, or a GeneratorExit of the function
                outcome = None, _failure(error, work.name)
            stopped = self._cancelling and not isinstance(outcome, Opening) and outcome[1] is not None
            then(None if stopped else outcome)
            if self._left and not (self._calls or self._earlier):
                self.stop()

        def begin() -> None:
            if self._cancelling:
                then(None)
                return
            coroutine = _call(work, context)
            coroutines_of_functions.add(coroutine)  # before the task: a task may begin when it is created
            task = self.create_task(coroutine, name=work.node.id, context=context)
            if (earlier := self._calls.get(work)) is not None:
                self._earlier.add(earlier)
            self._calls[work] = task
            # Not with the function's contextvars, in which another thread runs it once it has become a workflow.
            task.add_done_callback(ended, context=outside)

        self.call_soon_threadsafe(begin)

    def give_up(self, work: Work) -> threading.Event:
        """Cancel a function, and return an event that is then set. It is late if a function blocks the thread."""
        self.given_up = True
        responded = threading.Event()

        def cancel() -> None:
            task = self._calls.get(work)
            if task is not None:
                task.cancel()
            responded.set()

        try:
            self.call_soon_threadsafe(cancel)
        except RuntimeError:  # the loop has been closed meanwhile
            responded.set()
        return responded

    def leave(self) -> None:
        """End the loop, whose thread a function blocks, when all its functions have ended."""

        def end() -> None:
            self._left = True
            if not (self._calls or self._earlier):
                self.stop()

        self.call_soon_threadsafe(end)

    def cancel(self) -> None:
        """Cancel all functions, and start none."""
        if not self._cancelling:
            self._cancelling = True
            self.call_soon_threadsafe(self._cancel_calls)

    def _cancel_calls(self) -> None:
        for task in (*self._calls.values(), *self._earlier):
            task.cancel()

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Note the function that sets a timer."""
        handle = super().call_at(when, callback, *args, context=context)
        timers = _timers.get(None)
        if timers is not None:
            timers.add(handle)
        return handle

    def create_task(self, coro: Any, **arguments: Any) -> asyncio.Task[Any]:
        """Raise `MixedAwaits` for a command or promise, which is not a task."""
        if is_ours(coro):
            raise MixedAwaits(running_function.get(), coro, "a task of its own")
        return super().create_task(coro, **arguments)


def _run(loop: EventLoop) -> None:
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # cancels all tasks at its end
            _run_until_stopped(runner.get_loop())
    finally:
        abandoned.remove(threading.current_thread())


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue  # a user's task has raised it and fails with it; asyncio raises it here too
        return


async def _call(work: Work, context: contextvars.Context) -> Outcome | Opening:
    running_function.set(work.name)
    _timers.set(weakref.WeakSet())
    return await _until_first_command(work, context)


@types.coroutine
def _until_first_command(work: Work, context: contextvars.Context) -> Generator[Any, Any, Outcome | Opening]:
    """Run the function until it has ended or awaits a command. Its other awaits are the loop's.

    `context` are the contextvars in which it runs.
    """
    foreign: Any = None
    waited = False
    try:
        coroutine: Resumable = work.func(work.context, *work.args, **work.kwargs)
        if work.interceptors is not None:
            coroutine = InterceptedWorkflow(work.interceptors, work, coroutine)
        advance: Callable[[Any], Any] = coroutine.send
        sent: Any = None
        while True:
            yielded: Any = advance(sent)
            if not is_ours(yielded):
                foreign, waited = yielded, True
                try:
                    sent = yield yielded
                    advance = coroutine.send
                except BaseException as error:
                    sent, advance = error, coroutine.throw
            elif waited:
                sent, advance = MixedAwaits(work.name, yielded, _named(foreign)), coroutine.throw
            elif not all(timer.cancelled() for timer in _timers.get()):
                sent, advance = MixedAwaits(work.name, yielded, "a timeout"), coroutine.throw
            else:
                if isinstance(coroutine, InterceptedWorkflow):
                    coroutine.leave_loop(context)
                return Opening(coroutine, yielded)
    except StopIteration as stop:
        return stop.value, None
    except BaseException as error:  # also errors that end the process: the waiting thread raises those
        return None, _failure(error, work.name)


def _failure(error: BaseException, name: str) -> BaseException:
    """Return the failure of a function. For an error that may end the process, the waiting thread decides."""
    return error if is_outcome_of_test(error) else failure_of(error, name) or error


def _named(foreign: Any) -> str:
    return "sleep(0)" if foreign is None else type(foreign).__name__
