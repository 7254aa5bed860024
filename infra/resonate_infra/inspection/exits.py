"""Exit codes of the commands, and the exception that ends a command with one.

Scripts depend on these numbers, so their meaning must not change.
"""

from __future__ import annotations

DONE = 0
"""The command succeeded. With `invoke --wait`: the execution has resolved."""
FAILED = 1
"""The request was refused or does not apply: a conflict, an invalid request, a file that exists already.

`lint`: there are findings.
"""
USAGE = 2
"""The command line is wrong. `lint`: also a file that is not Python."""
REJECTED = 3
"""`invoke --wait`: the execution was rejected."""
TIMED_OUT = 4
"""`invoke --wait`: the execution timed out."""
CANCELED = 5
"""`invoke --wait`: the execution was canceled."""
NOT_FOUND = 6
"""The id does not exist."""
UNREACHABLE = 7
"""The server or the table cannot be reached, refuses the credentials (401, 403), or is too busy."""
HALTED = 8
"""`invoke --wait`: the execution's task is halted, until `resonate tasks continue`."""
PENDING = 9
"""`invoke --wait --wait-timeout`: the execution is still pending."""
INTERRUPTED = 130
"""The user pressed Ctrl-C."""
BROKEN_PIPE = 141
"""The reader of the output has closed it."""

OUTCOMES = {
    "resolved": DONE,
    "rejected": REJECTED,
    "rejected_timedout": TIMED_OUT,
    "rejected_canceled": CANCELED,
}
"""The exit code of `invoke --wait` for each outcome of the execution."""


def code_for(status: int) -> int:
    """Return the exit code for a response with this status of the protocol, which is 400 or more."""
    if status == 404:
        return NOT_FOUND
    return UNREACHABLE if status >= 500 or status in (401, 403, 429) else FAILED


class Failure(Exception):
    """The command fails.

    Args:
        message: the line on the error stream.
        code: the exit code.
        status: the status of the response that was a failure, if there was one.
    """

    def __init__(self, message: str, code: int = FAILED, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
