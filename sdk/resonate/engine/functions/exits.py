"""Failures of functions that are not an `Exception`, and how they differ from the end of the process.

`sys.exit()` in a step, a `KeyboardInterrupt` raised in a thread, a `CancelledError` of a library, a `GeneratorExit` and
any other `BaseException` are failures of the function that raises them. Four of them are not failures of the function:

- a Ctrl-C, and an exit by a signal handler. Python raises both in the main thread, in the code that runs there;
- in tests, the end of a killed worker, and an outcome of pytest (`pytest.fail`, `pytest.skip`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Any, cast

from resonate.errors import ApplicationError, is_cancellation
from resonate.workflow.commands import Command, Promise, misused


class EndOfProcess(BaseException):
    """Base of simulated ends of the process in tests. The worker does not catch it."""


def is_outcome_of_test(error: BaseException) -> bool:
    """Return whether pytest itself raised this, by `pytest.fail`, `pytest.skip` and the like."""
    outcomes = sys.modules.get("_pytest.outcomes")  # private, but it defines what the public functions raise
    kind = getattr(outcomes, "OutcomeException", None)
    return isinstance(kind, type) and isinstance(error, kind)


def failure_of(error: BaseException, name: str) -> BaseException | None:
    """Return the failure of the function that raised `error`, or None if `error` must end the process or the test.

    Args:
        error: what was raised, in the caller's thread.
        name: the name of the function.
    """
    if isinstance(error, Exception):
        held: object = cast("Any", error).obj if isinstance(error, AttributeError) else None
        if isinstance(held, (Command, Promise)):
            # Not by `__getattr__`, which would make every access to a command slower.
            with contextlib.suppress(Exception):  # the type of the error may not accept notes
                error.add_note(str(misused(cast("object", held))))
        if "asyncio" in sys.modules:
            from resonate.engine.functions.async_workflow import explain_misuse

            return explain_misuse(error, name)
        return error
    if isinstance(error, EndOfProcess):
        return None
    if is_cancellation(error):
        return error
    import asyncio  # here, because most workers do not need it

    if isinstance(error, asyncio.CancelledError):
        return ApplicationError("asyncio.CancelledError", "the function was cancelled").with_traceback(
            error.__traceback__
        )
    kind = type(error).__name__
    message = f"{name} raised {_shown(error)}, which ends no step: raise an Exception, or return"
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        if any(failure_of(member, name) is None for member in group.exceptions):
            return None
    elif _ends_the_process(error):
        return None
    return ApplicationError(kind, message).with_traceback(error.__traceback__)


def _shown(error: BaseException) -> str:
    try:
        return f"{error!r:.200}"
    except Exception:  # the class may be a user's
        return type(error).__name__


def _ends_the_process(error: BaseException) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if is_outcome_of_test(error):
        return True  # the test that called the worker, in its own thread, fails or is skipped
    if isinstance(error, KeyboardInterrupt):
        return "AWS_LAMBDA_RUNTIME_API" not in os.environ  # Lambda does not have a keyboard
    if not isinstance(error, SystemExit):
        return False
    handlers = set(_signal_handlers())
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _signal_handlers() -> Iterator[CodeType]:
    """Yield the code of the installed signal handlers."""
    import signal

    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while hasattr(handler, "func"):  # of functools.partial
            handler = handler.func
        function = getattr(handler, "__func__", handler)
        code = getattr(function, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
        if isinstance(code, CodeType):
            yield code
