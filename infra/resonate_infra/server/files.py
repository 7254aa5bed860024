"""Limit of open files of the process, and the numbers of connections and streams that it permits."""

from __future__ import annotations

import logging
from typing import NamedTuple

from resonate_infra.server.delivery import CONCURRENCY
from resonate_infra.server.hub import MAX_CONNECTIONS

WANTED_FILES = 8_192
"""Open files that the server requests: enough for all streams, for requests and for pushes."""
ASSUMED_FILES = 1_024
"""Limit of open files that is assumed if the system does not report one."""
_OTHER_FILES = 64
"""Open files that are not connections: the data file, modules, logs."""
_BACKLOG = 128

logger = logging.getLogger("resonate.server")


class Room(NamedTuple):
    """Numbers of connections that a limit of open files permits.

    Attributes:
        connections: connections at the same time.
        streams: how many of them can be streams. At most half, because a worker has a stream and a second connection
            for its requests.
        backlog: connections that one iteration of the event loop accepts for each address, before it can refuse any.
    """

    connections: int
    streams: int
    backlog: int


def room_in(limit: int) -> Room:
    """Return how many connections, streams and waiting connections a limit of open files permits."""
    backlog = max(1, min(_BACKLOG, limit // 8))
    connections = limit - min(limit // 2, _OTHER_FILES + CONCURRENCY + 2 * backlog)
    streams = min(MAX_CONNECTIONS, connections // 2)
    return Room(connections, streams, backlog)


def limit_of_files() -> int:
    """Return the limit of open files of this process."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return ASSUMED_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_FILES if soft == resource.RLIM_INFINITY else soft


def raise_limit_of_files() -> None:
    """Increase the limit of open files to `WANTED_FILES`, or to the maximum of this process if that is lower."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of %d open files cannot be raised: %s", soft, error)
