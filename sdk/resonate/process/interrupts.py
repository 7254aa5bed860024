"""Ctrl-C ends a program without a traceback while a runtime runs in it.

Most workers end that way: they start, and then wait or sleep until the user interrupts them. Python would print that as
if it were a failure. So from the start of the first runtime of a process to the stop of the last one, `sys.excepthook`
is replaced. The replacement prints nothing for a `KeyboardInterrupt` that the main thread has not caught, and passes
everything else to the hook before it. The process ends as Python ends it, by SIGINT, which scripts see.

A program may stop its runtime because it is interrupted, for instance in a `finally` block. Python raises the interrupt
again after that block, so the hook stays in place for this one interrupt.

The hook is not set where an interrupt does not end the program: at an interactive prompt, and inside Lambda.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

_lock = threading.Lock()
_running = 0
_hook: _Hook | None = None


class _Hook:
    """Replacement of `sys.excepthook`. Other code may wrap it, so it passes everything on when it is inactive."""

    def __init__(self, before: Callable[[type[BaseException], BaseException, TracebackType | None], Any]) -> None:
        self.before = before
        self.active = True
        self.passing: BaseException | None = None
        """The interrupt that was being raised when the last runtime stopped."""

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        silent = self.active or error is self.passing
        if silent and isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            return
        self.before(kind, error, traceback)


def begin() -> None:
    """Note that a runtime starts."""
    global _running, _hook
    with _lock:
        _running += 1
        if _running > 1 or _survives_interrupts():
            return
        if _hook is None or sys.excepthook is not _hook:
            _hook = sys.excepthook = _Hook(sys.excepthook)
        _hook.active, _hook.passing = True, None


def end() -> None:
    """Note that a runtime that had started has stopped."""
    global _running, _hook
    with _lock:
        _running -= 1
        if _running or _hook is None:
            return
        _hook.active = False
        error = sys.exception()
        if isinstance(error, KeyboardInterrupt):
            _hook.passing = error
        elif sys.excepthook is _hook:
            sys.excepthook, _hook = _hook.before, None


def _survives_interrupts() -> bool:
    return bool(sys.flags.inspect) or hasattr(sys, "ps1") or "AWS_LAMBDA_RUNTIME_API" in os.environ
