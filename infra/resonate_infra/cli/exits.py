"""How a command ends: its exit code, and the one line that says why.

Scripts go by these numbers, so each keeps its meaning for ever.
"""

from __future__ import annotations

DONE = 0
"""What was asked for is done; of `invoke --wait`: the execution has resolved."""
FAILED = 1
"""It was refused, or does not apply: a conflict, an invalid request, a file that is there already."""
USAGE = 2
"""The command line itself is wrong."""
REJECTED = 3
"""`invoke --wait`: the execution has failed."""
TIMED_OUT = 4
"""`invoke --wait`: the execution had no outcome at its deadline."""
CANCELED = 5
"""`invoke --wait`: the execution was cancelled."""
NOT_FOUND = 6
"""There is nothing with this id."""
UNREACHABLE = 7
"""The server or the table cannot be reached, refuses us, or is too busy to answer."""
HALTED = 8
"""`invoke --wait`: the execution's task is halted, until somebody continues it."""
PENDING = 9
"""`invoke --wait --wait-timeout`: the execution still runs."""
INTERRUPTED = 130
"""Ctrl-C."""
BROKEN_PIPE = 141
"""Whoever read the output has stopped reading."""

OUTCOMES = {
    "resolved": DONE,
    "rejected": REJECTED,
    "rejected_timedout": TIMED_OUT,
    "rejected_canceled": CANCELED,
}
"""The exit code for each outcome of an execution that is waited for."""


def code_for(status: int) -> int:
    """The exit code for a request that was answered with this status of the protocol, 400 or more."""
    if status == 404:
        return NOT_FOUND
    return UNREACHABLE if status >= 500 or status in (401, 403, 429) else FAILED


class Failure(Exception):
    """The command ends here.

    Args:
        message: the line that is written to the error stream.
        code: the exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
