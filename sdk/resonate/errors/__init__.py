"""Errors that the SDK raises.

Most are a `ResonateError` with a numeric code; those of `mistakes` are a `TypeError` or a `ValueError`. The text says
what is wrong and what to do, and `help` which command explains it. All of them can be pickled.
An error that a user's function raises is not wrapped. It reaches the workflow and the caller as its own type, or as an
`ApplicationError` if the process that reads it has not imported that type.
"""

from __future__ import annotations

import sys
from typing import Any

from resonate.errors.mistakes import (
    AlreadyRegisteredError,
    ArgumentTypeError,
    ArgumentValueError,
    ForeignPromiseError,
    MissingContextError,
    NotAFunctionError,
    NotRegisteredError,
    ProgramError,
    UnknownOptionError,
)
from resonate_store.documented import Documented
from resonate_store.interface import StoreError
from resonate_store.model.clock import instant

__all__ = [
    "AlreadyRegisteredError",
    "ApplicationError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "AttemptTimeout",
    "DecryptionError",
    "ForeignPromiseError",
    "ForkError",
    "InboxFullError",
    "InterceptorError",
    "MessageConflictError",
    "MessageError",
    "MessagesNotSupportedError",
    "MissingContextError",
    "NonDeterminismError",
    "NotAFunctionError",
    "NotRegisteredError",
    "PayloadError",
    "PayloadTooLargeError",
    "ProgramError",
    "ReceiverEndedError",
    "ReceiverNotFoundError",
    "ResonateCanceledError",
    "ResonateError",
    "ResonateHaltedError",
    "ResonateShutdownError",
    "ResonateStoreError",
    "ResonateTimedoutError",
    "ResultTypeError",
    "SignatureError",
    "StepInterrupted",
    "UnknownOptionError",
]


class ResonateError(Documented, Exception):
    """Base of all errors of the SDK.

    Args:
        mesg: what happened.
        code: a number that identifies the kind of error.
        details: more about it, as JSON data.

    Attributes:
        help: the command that explains it, such as `resonate explain PayloadError`.
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
        import json  # here, because every cold start would pay for it

        return f"{head}\n{json.dumps(self.details, indent=2, default=str)}"


class ResonateStoreError(ResonateError):
    """The store refused a request.

    Attributes:
        status: the protocol's status, such as 404 or 409.
        code: 100 and a fraction of the status, such as 100.404.

    Args:
        mesg: what happened.
        code: the status, followed by two digits for the detail, such as 40400.
        details: more about it, as JSON data.
    """

    def __init__(self, mesg: str, code: int, details: Any = None) -> None:
        super().__init__(mesg, float(f"100.{code}"), details)
        self.args = (mesg, code, details)
        self.status = code // 100


class ResonateCanceledError(ResonateError):
    """The promise was cancelled.

    Args:
        id: the promise.
        reason: why, if it is the promise of a workflow that ended by its cancellation; else empty.
    """

    def __init__(self, id: str, reason: str = "") -> None:
        super().__init__(f"Promise {id} canceled: {reason}" if reason else f"Promise {id} canceled", 200)
        self.args = (id, reason) if reason else (id,)
        self.id = id
        self.reason = reason


class ResonateTimedoutError(ResonateError):
    """The promise was not settled before its deadline.

    Args:
        id: the promise.
        timeout: the deadline, in seconds since the epoch. The text has it in UTC.
    """

    def __init__(self, id: str, timeout: float) -> None:
        super().__init__(f"Promise {id} timedout at {instant(timeout * 1000)}", 201)
        self.args = (id, timeout)
        self.id = id
        self.timeout = timeout


class AttemptTimeout(ResonateError):
    """An attempt of a step took longer than its `attempt_timeout`.

    Args:
        name: the function.
        attempt: the number of the attempt, from 1.
        seconds: the `attempt_timeout`.
    """

    def __init__(self, name: str, attempt: int, seconds: float) -> None:
        super().__init__(f"Attempt {attempt} of {name} took longer than {seconds:g} s", 320)
        self.args = (name, attempt, seconds)
        self.name = name
        self.attempt = attempt
        self.seconds = seconds


class StepInterrupted(ResonateError):
    """A step with `at_most_once` was interrupted: it may have run, or a part of it, and it is not run again.

    A worker began the attempt and recorded no outcome. Find out what the step has done, for example by a query to the
    service that it calls. Then decide in the workflow how to continue.

    Args:
        id: the promise of the step.
        attempt: the number of the attempt, from 1.
        version: the version of the task at which the attempt began.
    """

    def __init__(self, id: str, attempt: int, version: int) -> None:
        mesg = (
            f"Step {id} was interrupted: version {version} of its task began attempt {attempt} and recorded no outcome,"
            " so it may have run; at_most_once forbids to run it again"
        )
        super().__init__(mesg, 321)
        self.args = (id, attempt, version)
        self.id = id
        self.attempt = attempt
        self.version = version


class ResonateShutdownError(ResonateError):
    """`Resonate.stop()` was called while a caller waited for a result.

    Args:
        mesg: what is wrong, and what to do.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 300)
        self.args = (mesg,)


class ResonateHaltedError(ResonateError):
    """The task is halted: it does not run again by itself.

    Correct the cause, then resume the task with `resonate tasks continue`.

    Args:
        id: the task.
        reason: why it was halted.
    """

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(f"Task {id} is halted: {reason}; `resonate tasks continue {id}` lets it go on", 301)
        self.args = (id, reason)
        self.id = id
        self.reason = reason


class NonDeterminismError(ResonateError):
    """The workflow issued another command than in an earlier run, so its history cannot be replayed.

    The task is halted, and its promise stays pending. Deploy code that repeats the recorded commands, then continue the
    task.

    Args:
        id: the promise of the command.
        expected: the recorded command.
        found: the command that the code issues now.
    """

    def __init__(self, id: str, expected: str, found: str) -> None:
        mesg = f"{id} was {expected} when it first ran and is now {found}: a workflow must repeat its steps on replay"
        super().__init__(mesg, 302)
        self.args = (id, expected, found)

    def at(self, place: str) -> NonDeterminismError:
        """Add `place`, the file and line of the workflow, to the text, and return the error."""
        self.mesg = f"{self.mesg} ({place})"
        return self


class SignatureError(ResonateError, TypeError):
    """A call does not fit the parameters of its function.

    An argument is missing, unknown, given twice, too many, or of the wrong type. The call is not retried, whatever the
    retry policy.

    Args:
        mesg: what is wrong, and what to do.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 305)
        self.args = (mesg,)


class InterceptorError(ResonateError):
    """An interceptor around a workflow, or one of its remote calls, has raised an error. The task is tried again later.

    Args:
        mesg: which interceptor, and what it raised.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 308)
        self.args = (mesg,)


class ResultTypeError(ResonateError, TypeError):
    """A result does not fit the type that the caller gave as `result_type=`.

    In a workflow it halts the task: deploy code that gives the right type, then continue the task.

    Args:
        mesg: what is wrong, and what to do.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 306)
        self.args = (mesg,)


class PayloadError(ResonateError):
    """A value cannot be stored, or a stored value cannot be read.

    Args:
        mesg: what is wrong, and what to do.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 303)
        self.args = (mesg,)


class PayloadTooLargeError(PayloadError, ResonateStoreError):
    """The store refuses a value because it, or the promise with it, is too large. `status` is 413.

    Args:
        mesg: what is wrong, and what to do.
    """

    def __init__(self, mesg: str) -> None:
        ResonateError.__init__(self, mesg, 100.413)
        self.args = (mesg,)
        self.status = 413


class MessageError(ResonateStoreError):
    """A message was not accepted. `status` is that of the store."""


class ReceiverNotFoundError(MessageError):
    """The execution does not exist, or has no inbox. `status` is 404 or 422."""


class ReceiverEndedError(MessageError):
    """The execution has ended and takes no more messages. `status` is 410."""


class MessageConflictError(MessageError):
    """The execution has another message with this idempotency key. `status` is 409."""


class InboxFullError(MessageError):
    """Too many messages of the execution wait: 10,000, or 4 MiB. Send the message again later. `status` is 429."""


class MessagesNotSupportedError(ResonateError):
    """The store or server has no messages and no published state.

    Args:
        what: the command or request.
    """

    def __init__(self, what: str) -> None:
        mesg = f"{what}: this store or server has no messages and no published state; use one of this version"
        super().__init__(mesg, 307)
        self.args = (what,)


_MESSAGE_ERRORS: dict[int, type[MessageError]] = {
    404: ReceiverNotFoundError,
    409: MessageConflictError,
    410: ReceiverEndedError,
    422: ReceiverNotFoundError,
    429: InboxFullError,
}


class ForkError(ResonateError):
    """An execution cannot be forked or redriven like this. The text says why, and what to do.

    Args:
        mesg: why.
    """

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 330)
        self.args = (mesg,)


def message_refusal(status: int, reason: str | None) -> ResonateError:
    """Return the error of a message that was refused with this status and reason."""
    if status == 501:
        return MessagesNotSupportedError("message.send")
    if status == 413:
        return refusal(status, reason)
    return _MESSAGE_ERRORS.get(status, MessageError)(reason or "refused", status * 100)


def message_conflict(id: str, key: str) -> MessageConflictError:
    """Return the error of a message whose key was used for another value."""
    mesg = f"execution {id!r} has a message with the idempotency key {key!r} and another value: choose another key"
    return MessageConflictError(mesg, 40900)


def refusal(status: int, reason: str | None, details: Any = None) -> ResonateStoreError:
    """Return the error of a refused request.

    Args:
        status: the status of the response.
        reason: the error of the response.
        details: more about it, as JSON data.
    """
    mesg = reason or "refused"
    return PayloadTooLargeError(mesg) if status == 413 else ResonateStoreError(mesg, status * 100, details)


class DecryptionError(ResonateError, StoreError):
    """A payload is encrypted, and this process cannot read it.

    The process has failed, and not the execution: the worker releases the task, and the promise stays pending.

    Args:
        place: the payload, such as "param:order-1".
        reason: why it cannot be read.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"cannot decrypt {place}: {reason}", 304)
        self.args = (place, reason)


class ApplicationError(Exception):
    """An error from another process, whose type this process has not imported.

    Args:
        type_name: the full name of the type where it was raised.
        message: its message.
        remote_traceback: the text of its traceback; empty if there is none.
    """

    def __init__(self, type_name: str, message: str, remote_traceback: str = "") -> None:
        super().__init__(type_name, message, remote_traceback)
        self.type_name = type_name
        self.message = message
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.type_name else self.message


MOST_CAUSES = 16
"""Maximum number of causes of an error that are read: causes can be cyclic."""


def is_cancellation(error: BaseException) -> bool:
    """Return whether this is the error of a cancelled execution (`resonate.errors.canceled.Canceled`)."""
    module = sys.modules.get("resonate.errors.canceled")
    return module is not None and isinstance(error, module.Canceled)


def is_final(error: BaseException) -> bool:
    """Return whether a retry cannot succeed after this error. An exception group is final if one of its members is.

    An error raised `from` a `ProgramError` is final as well. A cause of another kind, such as a `PayloadError`, is not:
    the next attempt may make that call with other arguments.
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
