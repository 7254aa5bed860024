"""The server as a process: its logs, its exit code, and one clear line when it cannot start."""

from __future__ import annotations

import logging
import sys

from resonate_infra.server.assembly import CannotServe, Server, ServerOptions
from resonate_infra.server.files import raise_limit_of_files
from resonate_infra.text import plain

LEVELS = ("debug", "info", "warning", "error")

logger = logging.getLogger("resonate.server")


class _LineFormatter(logging.Formatter):
    """Writes each event as one line, whatever the ids in it are made of; a traceback follows in lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return plain(super().formatMessage(record))


def serve(options: ServerOptions, log_level: str = "info") -> int:
    """Serve in the foreground until interrupted.

    Args:
        options: how the server is set up.
        log_level: "debug" shows every request and message, "info" who comes and goes, "warning" what fails, "error"
            what should not have happened.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 when the server could not start, with a line that says why.
    """
    _log(log_level)
    raise_limit_of_files()
    try:
        server = Server(options)
        where = f"the table {options.table}" if options.table else options.data or "memory"
        # Said when all is there: a script that waits for this line may go on.
        server.run(lambda: logger.info("listening on %s, promises are in %s", server.url, where))
    except CannotServe as error:
        print(f"error: {plain(' '.join(str(error).split()))}", file=sys.stderr)
        return 1
    logger.info("stopped")
    return 0


class _WithoutQuery(logging.Filter):
    """Masks the query of each request in the access log: some clients put a token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_masked, record.args))
        return True


def _masked(part: object) -> object:
    if not isinstance(part, str) or "?" not in part:
        return part
    return f"{part.partition('?')[0]}?***"


def _log(level: str) -> None:
    """Log one line for each event to the error stream; what libraries tell of their inner life only if it is bad."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in ("uvicorn.error", "asyncio", "botocore", "boto3", "pynamodb", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Every request; and that a connection was not kept, which is all that urllib3 has to warn of.
    access = logging.getLogger("uvicorn.access")
    access.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    access.addFilter(_WithoutQuery())
    logging.getLogger("urllib3").setLevel(logging.ERROR)
