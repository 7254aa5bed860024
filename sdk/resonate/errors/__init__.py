"""What can go wrong, as users see it.

Every error of ours is a `ResonateError` with a numeric code, says what was wrong and what to do, and
survives pickling. Errors that a user's function raises are not wrapped: they reach the workflow and the caller as
themselves, or as `ApplicationError` where their type is not known in the process that reads them.
"""

from __future__ import annotations

from typing import Any

from resonate_store.interface import StoreError


class ResonateError(Exception):
    """Base of all errors of ours.

    Args:
        mesg: what happened.
        code: a number that programs can tell errors apart by.
        details: anything JSON that helps.
    """

    def __init__(self, mesg: str, code: float, details: Any = None) -> None:
        super().__init__(mesg, code, details)
        self.mesg = mesg
        self.code = code
        self.details = details

    def __str__(self) -> str:
        head = f"[{self.code:09.5f}] {self.mesg}"
        if self.details is None:
            return head
        import json  # every cold start would pay for it, and hardly any shows an error

        return f"{head}\n{json.dumps(self.details, indent=2, default=str)}"


class ResonateStoreError(ResonateError):
    """The store refused a request; `status` is the protocol's (404, 409, ...)."""

    def __init__(self, mesg: str, code: int, details: Any = None) -> None:
        super().__init__(mesg, float(f"100.{code}"), details)
        self.args = (mesg, code, details)
        self.status = code // 100


class ResonateCanceledError(ResonateError):
    """The promise was cancelled."""

    def __init__(self, id: str) -> None:
        super().__init__(f"Promise {id} canceled", 200)
        self.args = (id,)
        self.id = id


class ResonateTimedoutError(ResonateError):
    """The promise was not settled in time; `timeout` is its deadline in seconds since the epoch."""

    def __init__(self, id: str, timeout: float) -> None:
        super().__init__(f"Promise {id} timedout at {timeout}", 201)
        self.args = (id, timeout)
        self.id = id
        self.timeout = timeout


class ResonateShutdownError(ResonateError):
    """This instance was stopped while somebody waited for it."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 300)
        self.args = (mesg,)


class ResonateHaltedError(ResonateError):
    """The task will not go on by itself; `tasks continue` resumes it once the reason is gone."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(f"Task {id} is halted: {reason}", 301)
        self.args = (id, reason)
        self.id = id
        self.reason = reason


class NonDeterminismError(ResonateError):
    """The workflow did something else than it did before, so its history cannot be continued.

    The task is halted, not failed: deploy code that replays the history and continue it.
    """

    def __init__(self, id: str, expected: str, found: str) -> None:
        mesg = f"{id} was {expected} when it first ran and is now {found}: a workflow must repeat its steps on replay"
        super().__init__(mesg, 302)
        self.args = (id, expected, found)


class SignatureError(ResonateError, TypeError):
    """A call does not fit the function: an argument is missing, unknown, given twice, too many, or of the wrong type.

    It is never tried again, whatever the retry policy: nothing but another call, or another function, would help.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 305)
        self.args = (mesg,)


class ResultTypeError(ResonateError, TypeError):
    """A result is not of the type that the caller has asked for by `result_type=`.

    In a workflow it halts the task: deploy code that asks for the right type and continue it.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 306)
        self.args = (mesg,)


class ProgramError(TypeError):
    """A function is written in a way that cannot work, as its text says. It is never tried again."""


class PayloadError(ResonateError):
    """A value cannot travel, or what arrived cannot be read."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 303)
        self.args = (mesg,)


class PayloadTooLargeError(PayloadError, ResonateStoreError):
    """The store does not take a value, or a promise with it, because of its size; `status` is 413."""

    def __init__(self, mesg: str) -> None:
        ResonateError.__init__(self, mesg, 100.413)
        self.args = (mesg,)
        self.status = 413


def refusal(status: int, reason: str | None, details: Any = None) -> ResonateStoreError:
    """What a refused request raises.

    Args:
        status: the response's.
        reason: its error.
        details: anything JSON that helps.
    """
    mesg = reason or "refused"
    return PayloadTooLargeError(mesg) if status == 413 else ResonateStoreError(mesg, status * 100, details)


class DecryptionError(ResonateError, StoreError):
    """A payload is encrypted, and this process cannot read it.

    It is a failure of the process and not of the execution: the task is given back and the promise stays pending.

    Args:
        place: which payload, e.g. "param:order-1".
        reason: why it cannot be read.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"cannot decrypt {place}: {reason}", 304)
        self.args = (place, reason)


class ApplicationError(Exception):
    """An error raised elsewhere whose type is not known in this process.

    Args:
        type_name: the type's full name where it was raised.
        message: its message.
        remote_traceback: the text of its traceback, if it came along.
    """

    def __init__(self, type_name: str, message: str, remote_traceback: str = "") -> None:
        super().__init__(type_name, message, remote_traceback)
        self.type_name = type_name
        self.message = message
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.type_name else self.message


MOST_CAUSES = 16
"""How many causes of an error are looked at: they may be in a cycle."""


def is_final(error: BaseException) -> bool:
    """Whether no repetition can cure this failure of a function, or one that its exception group holds.

    An error raised `from` a `ProgramError` is final as well: repetition does not correct a program. A cause of another
    kind, such as a `PayloadError`, does not count: the next attempt may make that call with other arguments.
    """
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[BaseException] = error  # pyright: ignore[reportUnknownVariableType]
        return any(is_final(member) for member in group.exceptions)
    if isinstance(error, (ProgramError, SignatureError, ResultTypeError, PayloadError, NonDeterminismError)):
        return True
    cause = error.__cause__
    for _ in range(MOST_CAUSES):
        if cause is None or _is_of_the_program(cause):
            return cause is not None
        cause = cause.__cause__
    return False


def _is_of_the_program(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[BaseException] = error  # pyright: ignore[reportUnknownVariableType]
        return any(map(_is_of_the_program, group.exceptions))
    return isinstance(error, ProgramError)
