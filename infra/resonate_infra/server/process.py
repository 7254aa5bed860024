"""Server as a process: its logs, its exit code, and the line that says why it cannot start."""

from __future__ import annotations

import logging
import sys

from resonate_infra.server.assembly import CannotServe, Server, ServerOptions
from resonate_infra.server.files import raise_limit_of_files
from resonate_infra.text import plain

LEVELS = ("debug", "info", "warning", "error")

logger = logging.getLogger("resonate.server")


class _LineFormatter(logging.Formatter):
    """Formatter that writes each event as one line, even if an id contains a line break. A traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return plain(super().formatMessage(record))


def serve(options: ServerOptions, log_level: str = "info") -> int:
    """Serve in the foreground until SIGINT or SIGTERM.

    Args:
        options: the options of the server.
        log_level: "debug" logs every request and message, "info" workers that connect and disconnect, "warning"
            failures, "error" only failures that should not occur.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 if the server could not start. A line on stderr then says why.
    """
    _log(log_level)
    raise_limit_of_files()
    try:
        server = Server(options)
        where = f"the table {options.table}" if options.table else options.data or "memory"
        # Logged when the server is ready, so that a script can wait for this line.
        server.run(
            lambda: logger.info(
                "listening on %s, promises are in %s; console: %s/console", server.url, where, server.url
            )
        )
    except CannotServe as error:
        print(f"error: {plain(' '.join(str(error).split()))}", file=sys.stderr)
        return 1
    logger.info("stopped")
    return 0


class _WithoutQuery(logging.Filter):
    """Filter that masks the query of each request in the access log. Some clients send a token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_masked, record.args))
        return True


def _masked(part: object) -> object:
    if not isinstance(part, str) or "?" not in part:
        return part
    return f"{part.partition('?')[0]}?***"


def _log(level: str) -> None:
    """Log to stderr, one line for each event. Log only warnings and errors of libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in ("uvicorn.error", "asyncio", "botocore", "boto3", "pynamodb", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The access log has one line for each request. urllib3 only warns of connections that it could not keep open.
    access = logging.getLogger("uvicorn.access")
    access.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    access.addFilter(_WithoutQuery())
    logging.getLogger("urllib3").setLevel(logging.ERROR)
