"""Where async functions run: one event loop in a thread of its own.

All async functions of a process share it, so that a client which belongs to a loop - an HTTP session, a connection
pool - can be a dependency of all of them, and any number of them wait at the same time. It starts with the first one.

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
from resonate.workflow.awaits import MixedAwaits, running_function, tasks_of_functions

_timers: contextvars.ContextVar[weakref.WeakSet[asyncio.TimerHandle]] = contextvars.ContextVar("timers")
"""What a function has the loop do later: a timeout around a command would be one, and reach nobody."""
RESPONSE_S = 1.0
"""How long a loop may take to cancel a function before its thread counts as blocked (s)."""
_Base = asyncio.ProactorEventLoop if sys.platform == "win32" else asyncio.SelectorEventLoop


class _Loop(_Base):
    """The platform's usual loop, which notes whose timers it has, and says why a command is not a task."""

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        timers = _timers.get(None)
        if timers is not None:
            timers.add(handle)
        return handle

    def create_task(self, coro: Any, **arguments: Any) -> asyncio.Task[Any]:
        if is_ours(coro):
            raise MixedAwaits(running_function.get(), coro, "a task of its own")
        return super().create_task(coro, **arguments)


class EventLoop:
    """A loop, started when first needed; once stopped it starts anew when needed again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[Work, asyncio.Task[Outcome | Opening]] = {}
        self._cancelling = self._left = self._given_up = False

    def submit(self, work: Work, then: Callable[[Outcome | Opening | None], None]) -> None:
        """Call an async function, in the contextvars of the caller.

        Args:
            work: the function.
            then: told how it ended, or that it is a workflow, in the thread of the loop; None if it was stopped.
        """
        context = contextvars.copy_context()
        loop = self._running()

        def ended(task: asyncio.Task[Outcome | Opening]) -> None:
            del self._tasks[work]
            try:
                outcome = task.result()
            except BaseException as error:  # cancelled, or a GeneratorExit, which closes what is above it as well
                outcome = None, _failure(error, work.name)
            stopped = self._cancelling and not isinstance(outcome, Opening) and outcome[1] is not None
            then(None if stopped else outcome)
            if self._left and not self._tasks:
                loop.stop()

        def begin() -> None:
            if self._cancelling:
                then(None)
                return
            task = loop.create_task(_call(work), name=work.node.id, context=context)
            tasks_of_functions.add(task)
            self._tasks[work] = task
            task.add_done_callback(ended)

        loop.call_soon_threadsafe(begin)

    def call(self, work: Work) -> Outcome | Opening | None:
        """Call an async function and wait until it has ended, or turns out to be a workflow; None if it was stopped.

        Raises:
            BaseException: what it raised that would end a process.
        """
        answered = threading.Event()
        answers: list[Outcome | Opening | None] = []

        def answer(outcome: Outcome | Opening | None) -> None:
            answers.append(outcome)
            answered.set()

        self.submit(work, answer)
        answered.wait()
        outcome = answers[0]
        if isinstance(outcome, tuple) and (error := outcome[1]) and not isinstance(error, Exception):
            if (failure := failure_of(error, work.name)) is None:
                raise error
            return None, failure
        return outcome

    def give_up(self, work: Work) -> bool:
        """Cancel an async function that is not waited for any longer.

        Returns:
            Whether the loop has done so: if it does not in `RESPONSE_S`, a function blocks its thread.
        """
        loop = self._loop
        self._given_up = True
        responded = threading.Event()

        def cancel() -> None:
            task = self._tasks.get(work)
            if task is not None:
                task.cancel()
            responded.set()

        if loop is None:
            return True
        try:
            loop.call_soon_threadsafe(cancel)
        except RuntimeError:  # it has been closed meanwhile, and with it everything that ran on it
            return True
        return responded.wait(RESPONSE_S)

    def leave(self) -> threading.Thread | None:
        """Leave the thread behind, which a function blocks; it ends when the functions that run on it have ended."""

        def end() -> None:
            self._left = True
            if not self._tasks and self._loop is not None:
                self._loop.stop()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(end)
        return self._thread

    def cancel(self) -> None:
        """Stop what runs, and let nothing begin until `stop` has ended the loop.

        A function that is stopped has not failed: whatever it raises is for others to find out. One that returns all
        the same has its result.
        """
        with self._lock:
            if self._loop is None or self._cancelling:
                return
            self._cancelling = True
            self._loop.call_soon_threadsafe(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        self.cancel()
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            # One that was given up and goes on all the same is not waited for.
            thread.join(RESPONSE_S if self._given_up else None)
        self._cancelling = False

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = _Loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="resonate-event-loop", daemon=True
                )
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
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
