"""Log lines of a function's attempts: called, succeeded, failed, retried.

If payloads are encrypted, or the call has an encoder, no payloads are logged. The lines then have neither arguments nor
results, and only the type of an error.
"""

from __future__ import annotations

import logging
import reprlib
import sys
from typing import Any

from resonate.engine.model import Work
from resonate.retry_policies import RetryPolicy
from resonate.workflow.callables import definition_of
from resonate.workflow.logger import RESONATE
from resonate_store.documented import Documented
from resonate_store.model.clock import instant

LONGEST = 100
"""Maximum number of characters of logged arguments and values."""
LONGEST_ADVICE = 1_000
"""Maximum number of characters of the text of an error of the SDK. Its end says what to do."""

PATIENCE = 3
"""From this attempt on, the line about a failure says until when the function is retried."""
MANY = 1_000_000
"""A limit of retries above this is not logged."""
LONGEST_TRACEBACK = 64 * 1024
"""Maximum number of characters of a logged traceback. A longer one is left out; the error shows its end."""


class _Repr(reprlib.Repr):
    """Shortened representations. An integer that Python does not write in decimal is shown by its size."""

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"<int of {x.bit_length()} bits>"


_shown = _Repr()
_shown.maxlevel = 4
_shown.maxstring = _shown.maxother = _shown.maxlong = LONGEST
for _kind in ("maxdict", "maxlist", "maxtuple", "maxset", "maxfrozenset", "maxdeque", "maxarray"):
    setattr(_shown, _kind, LONGEST)


def logs_everything() -> bool:
    """Return whether lines of level DEBUG are written: those of functions that begin and succeed."""
    return RESONATE.isEnabledFor(logging.DEBUG)


def log_beginning(work: Work, *, private: bool) -> None:
    """Log that a function is called. `private` means, as in the next functions: log nothing from its payloads."""
    work.context.logger.debug("Running function %s", _call(work, private))


def log_success(work: Work, value: Any, *, private: bool) -> None:
    """Log that a function has returned."""
    if private or work.node.encoder is not None:
        work.context.logger.debug("Function %s succeeded", _call(work, private))
    else:
        work.context.logger.debug("Function %s succeeded with %s", _call(work, private), _short(value))


def log_failure(
    work: Work, error: BaseException, pause: int | None, *, private: bool, policy: RetryPolicy | None = None
) -> None:
    """Log that a function has failed, and is retried after `pause` milliseconds, or not at all if that is None.

    From the third failure on, the line says until when `policy` retries the function. The traceback is logged with the
    first failure and with the last.
    """
    hidden = private or work.node.encoder is not None
    shown = type(error).__name__ if hidden else f"{type(error).__name__}: {_text(error)}"
    traceback = error if not hidden and (pause is None or work.attempt == 1) and _is_showable(error) else None
    if pause is None:
        work.context.logger.error("%s. Function %s failed", shown, _call(work, private), exc_info=traceback)
    else:
        message = "%s. Function %s failed (%sretrying in %ss%s)"
        seconds = f"{pause / 1000:.1f}"
        many = work.attempt >= PATIENCE
        number, end = (f"attempt {work.attempt}; ", _end(work, policy)) if many else ("", "")
        work.context.logger.warning(message, shown, _call(work, private), number, seconds, end, exc_info=traceback)


def _is_showable(error: BaseException) -> bool:
    """Return whether a log handler can format an error in at most `LONGEST_TRACEBACK` characters.

    The class of the error may be a user's, and its methods may raise.
    """
    import traceback

    from resonate.payloads.exceptions import frames_of

    if frames_of(error) is None:
        return False  # the error is the SDK's, and its type and message are enough
    try:
        return sum(map(len, traceback.format_exception(error))) <= LONGEST_TRACEBACK
    except Exception:
        return False


def _end(work: Work, policy: RetryPolicy | None) -> str:
    """Return until when, and how often, a function is retried."""
    left = getattr(policy, "max_retries", sys.maxsize) - work.attempt + 1
    times = "" if left > MANY else f", at most {left} more time{'' if left == 1 else 's'}"
    return f"{times}, until {instant(work.node.timeout_at)}"


def log_forgotten(work: Work) -> None:
    """Warn that a function has created commands without yielding or awaiting them. They have no effect."""
    forgotten = work.state.made - work.state.count
    work.context.logger.warning(
        "Function %s made %d more command%s than it yielded (%s): write `yield ctx.run(...)`, or `await` where it is"
        " async; `resonate lint` finds the line",
        work.name,
        forgotten,
        "s" if forgotten > 1 else "",
        definition_of(work.func),
    )


def log_not_continued(work: Work) -> None:
    """Warn that a function has called `ctx.continue_as` and has not returned its result, so the execution ends."""
    work.context.logger.warning(
        "Function %s called ctx.continue_as and returned something else (%s), so it ends: write `return"
        " ctx.continue_as(...)`",
        work.name,
        definition_of(work.func),
    )


def log_broken_policy(work: Work, policy: str, error: Exception, *, private: bool) -> None:
    """Warn that a retry policy raised an error, so the failure of the function is final."""
    shown = type(error).__name__
    if not private and work.node.encoder is None:
        shown += f": {_text(error)}"
    message = "Function %s is not tried again: its retry policy, %s, failed with %s"
    work.context.logger.warning(message, _call(work, private), policy, shown)


def _call(work: Work, private: bool) -> str:
    if private or work.node.encoder is not None:
        return f"{work.name}(...)"
    arguments = [_short(value) for value in work.args]
    arguments += [f"{name}={_short(value)}" for name, value in work.kwargs.items()]
    return f"{work.name}({_cut(', '.join(arguments))})"


def _short(value: Any) -> str:
    try:
        return _cut(_shown.repr(value))  # reprlib catches most errors of a `__repr__`
    except Exception as failure:
        return f"<{type(value).__name__} whose repr raised {type(failure).__name__}>"


def _text(error: BaseException) -> str:
    try:
        text = str(error)
        return text[:LONGEST_ADVICE] if isinstance(error, Documented) else _cut(text)
    except Exception as failure:
        return f"<__str__ raised {type(failure).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
