"""The error that a cancelled workflow gets. It is loaded with the first cancellation, because it needs asyncio."""

from __future__ import annotations

import asyncio


class Canceled(asyncio.CancelledError):
    """The execution is cancelled: raised in a workflow at the command or promise that it awaits.

    It is not an `Exception`, so `except Exception` does not catch it. A workflow may catch it to undo what it has done,
    by further steps, and raises it again at the end::

        try:
            yield ctx.sleep(days * 86400)
        except Canceled:
            yield ctx.run(refund, payment)
            raise

    Args:
        reason: the reason that the caller gave.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
