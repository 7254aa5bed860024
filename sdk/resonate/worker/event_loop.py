"""The event loop that async functions run in (`async_functions`), and where they meet commands.

An async function is a step until it awaits a command. Then it is a workflow, and leaves the loop: the interpreter
drives it from there on, like a generator. What it does must follow from what is recorded, and what a loop brings is
not, so one function does not do both; an error says so to the one that tries. Nothing runs twice to find out.
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

from resonate.engine.async_workflow import is_ours
from resonate.engine.exits import failure_of, is_outcome_of_test
from resonate.engine.model import Opening, Outcome, Work
from resonate.worker.abandoned import abandoned
from resonate.workflow.awaits import MixedAwaits, coroutines_of_functions, running_function

_timers: contextvars.ContextVar[weakref.WeakSet[asyncio.TimerHandle]] = contextvars.ContextVar("timers")
"""What a function has the loop do later: a timeout around a command would be one, and would have no effect."""
_Base = asyncio.ProactorEventLoop if sys.platform == "win32" else asyncio.SelectorEventLoop


class EventLoop(_Base):
    """The platform's usual loop, which runs async functions and says why a command is not a task.

    Attributes:
        thread: where it runs, once the caller has started it.
        given_up: whether a function that it runs is not waited for any longer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.Thread(target=_run, args=(self,), name="resonate-event-loop", daemon=True)
        self.given_up = False
        self._calls: dict[Work, asyncio.Task[Outcome | Opening]] = {}
        self._cancelling = self._left = False

    def submit(self, work: Work, then: Callable[[Outcome | Opening | None], None]) -> None:
        """See `AsyncFunctions.submit`."""
        context = contextvars.copy_context()

        def ended(task: asyncio.Task[Outcome | Opening]) -> None:
            del self._calls[work]
            try:
                outcome = task.result()
            except BaseException as error:  # cancelled, or a GeneratorExit, which closes what is above it as well
                outcome = None, _failure(error, work.name)
            stopped = self._cancelling and not isinstance(outcome, Opening) and outcome[1] is not None
            then(None if stopped else outcome)
            if self._left and not self._calls:
                self.stop()

        def begin() -> None:
            if self._cancelling:
                then(None)
                return
            coroutine = _call(work)
            coroutines_of_functions.add(coroutine)  # before the task: a task may begin when it is created
            task = self.create_task(coroutine, name=work.node.id, context=context)
            self._calls[work] = task
            task.add_done_callback(ended)

        self.call_soon_threadsafe(begin)

    def give_up(self, work: Work) -> threading.Event:
        """Cancel a function, and return what is set once that is done: if it is not, a function blocks the thread."""
        self.given_up = True
        responded = threading.Event()

        def cancel() -> None:
            task = self._calls.get(work)
            if task is not None:
                task.cancel()
            responded.set()

        try:
            self.call_soon_threadsafe(cancel)
        except RuntimeError:  # it has been closed meanwhile, and with it everything that ran on it
            responded.set()
        return responded

    def leave(self) -> None:
        """End the loop, whose thread a function blocks, when the functions that run on it have ended."""

        def end() -> None:
            self._left = True
            if not self._calls:
                self.stop()

        self.call_soon_threadsafe(end)

    def cancel(self) -> None:
        """Stop what runs, and let nothing begin."""
        if not self._cancelling:
            self._cancelling = True
            self.call_soon_threadsafe(self._cancel_calls)

    def _cancel_calls(self) -> None:
        for task in self._calls.values():
            task.cancel()

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Note whose timer it is."""
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
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # which cancels and closes properly at its end
            _run_until_stopped(runner.get_loop())
    finally:
        abandoned.remove(threading.current_thread())


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue  # asyncio raises here, too, what a task of the user's raised: it is that task's failure
        return


async def _call(work: Work) -> Outcome | Opening:
    running_function.set(work.name)
    _timers.set(weakref.WeakSet())
    return await _until_first_command(work)


@types.coroutine
def _until_first_command(work: Work) -> Generator[Any, Any, Outcome | Opening]:
    """Run the function until it has ended or awaits a command; what else it awaits is the loop's."""
    foreign: Any = None
    waited = False
    try:
        coroutine = work.func(work.context, *work.args, **work.kwargs)
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
                return Opening(coroutine, yielded)
    except StopIteration as stop:
        return stop.value, None
    except BaseException as error:  # even what ends a process is not the loop's to raise
        return None, _failure(error, work.name)


def _failure(error: BaseException, name: str) -> BaseException:
    """Return the failure of a function, or what the thread that waits for it decides about."""
    return error if is_outcome_of_test(error) else failure_of(error, name) or error


def _named(foreign: Any) -> str:
    return "sleep(0)" if foreign is None else type(foreign).__name__
