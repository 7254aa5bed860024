"""Logger of a context (`ctx.logger`), which writes nothing while its execution is replayed.

Every record has the ids of the execution and of its root. The loggers are children of `resonate`:
`Resonate(log_level=...)` sets its level, and its handlers get the records. Without any handler they are written to
standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Protocol

RESONATE = logging.getLogger("resonate")


class ReplayedContext(Protocol):
    """Protocol of the context that a logger belongs to."""

    @property
    def id(self) -> str: ...

    @property
    def replaying(self) -> bool: ...


class _StandardError(logging.StreamHandler[Any]):
    """Handler that writes to the present `sys.stderr`, which a test may have replaced."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("[%(asctime)s] [%(levelname)s] [%(root_id)s] [%(id)s] %(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr


_standard_error = _StandardError()


class ContextLogger(logging.Logger):
    """Logger of one context. Its records have the attributes `root_id` and `id`."""

    def __init__(self, context: ReplayedContext, root: str) -> None:
        super().__init__(f"resonate:{root}:{context.id}")
        self.parent = RESONATE
        self._context = context
        self._ids = {"root_id": root, "id": context.id}

    def isEnabledFor(self, level: int) -> bool:
        return not self._context.replaying and super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        vars(record).update(self._ids)
        super().handle(record)

    def callHandlers(self, record: logging.LogRecord) -> None:
        if self.hasHandlers():
            super().callHandlers(record)
        else:
            _standard_error.handle(record)
