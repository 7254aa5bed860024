"""Context managers of a program's interceptors around its functions.

A step runs inside them, in a copy of the contextvars of its thread. A workflow runs in contextvars of its own, and is
entered and left there, whenever the interpreter resumes it. So workflows that take turns in one thread do not see the
contextvars of each other.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from resonate.engine.model import Resumable, Work
from resonate.errors import InterceptorError
from resonate.interceptors import InboundCall, Interceptor

logger = logging.getLogger("resonate.interceptors")


def run_step(interceptors: Sequence[Interceptor], work: Work) -> Any:
    """Call the function of a step inside the context managers of the interceptors."""
    return contextvars.copy_context().run(_run_step, interceptors, work)


def _run_step(interceptors: Sequence[Interceptor], work: Work) -> Any:
    exits = _entered(interceptors, work)
    try:
        result = work.func(work.context, *work.args, **work.kwargs)
    except BaseException as error:
        exits.__exit__(type(error), error, error.__traceback__)
        raise
    exits.__exit__(None, None, None)
    return result


def _entered(interceptors: Sequence[Interceptor], work: Work) -> ExitStack:
    """Enter the context managers around an attempt."""
    info = work.context.info
    call = InboundCall(
        work.node.id,
        work.lineage.origin,
        work.name,
        work.kind,
        work.attempt,
        info.headers,
        MappingProxyType(work.tags),
        work.state.replaying,
    )
    with ExitStack() as exits:
        for interceptor in interceptors:
            manager = interceptor.inbound(call)
            if manager is not None:
                exits.enter_context(manager)
        return exits.pop_all()


class InterceptedWorkflow:
    """A workflow, or the coroutine of an async function, inside the context managers of the interceptors.

    Args:
        interceptors: the interceptors.
        work: the function.
        resumable: its generator or coroutine, which has not begun.
        surroundings: the contextvars in which it runs. Without them it runs in those of its caller: an async function
            does, until it leaves the event loop.
    """

    __slots__ = ("_exits", "_interceptors", "_resumable", "_surroundings", "_work")

    def __init__(
        self,
        interceptors: Sequence[Interceptor],
        work: Work,
        resumable: Resumable,
        surroundings: contextvars.Context | None = None,
    ) -> None:
        self._surroundings = surroundings
        self._interceptors = interceptors
        self._work = work
        self._resumable = resumable
        self._exits: ExitStack | None = None

    def leave_loop(self, surroundings: contextvars.Context) -> None:
        """Run in these contextvars from now on, which are those of its task in the event loop."""
        self._surroundings = surroundings

    def send(self, value: Any) -> Any:
        return self.inside(self._advance, self._resumable.send, value)

    def throw(self, error: BaseException) -> Any:
        return self.inside(self._advance, self._resumable.throw, error)

    def close(self) -> None:
        self.inside(self._close)

    def inside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with the contextvars of the workflow."""
        return function(*args) if self._surroundings is None else self._surroundings.run(function, *args)

    def _advance(self, resume: Callable[[Any], Any], value: Any) -> Any:
        if self._exits is None:
            try:
                self._exits = _entered(self._interceptors, self._work)
            except Exception as error:
                self._resumable.close()
                raise self._failed(error) from error
        try:
            return resume(value)
        except StopIteration:
            self._leave(None)
            raise
        except BaseException as error:
            self._leave(error)
            raise

    def _leave(self, error: BaseException | None) -> None:
        exits, self._exits = self._exits, ExitStack()
        if exits is None:
            return
        try:
            exits.__exit__(
                None if error is None else type(error), error, None if error is None else error.__traceback__
            )
        except Exception as failure:
            if failure is not error:
                raise self._failed(failure) from failure

    def _close(self) -> None:
        self._resumable.close()
        try:
            self._leave(GeneratorExit())
        except Exception as failure:
            logger.warning("an interceptor failed when %s was suspended: %s", self._work.name, failure, exc_info=True)

    def _failed(self, error: Exception) -> Exception:
        """Return the error of an interceptor as the interpreter must see it: around a workflow it is not an outcome."""
        if self._surroundings is None:
            return error
        return InterceptorError(f"an interceptor around {self._work.name} raised {type(error).__name__}: {error}")
