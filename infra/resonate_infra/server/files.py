"""How many open files the process may have, and how many connections and streams fit into them."""

from __future__ import annotations

import logging
from typing import NamedTuple

from resonate_infra.server.delivery import CONCURRENCY
from resonate_infra.server.hub import MAX_CONNECTIONS

WANTED_FILES = 8_192
"""Open files that the server asks for: room for every stream, for requests beside them and for pushes."""
ASSUMED_FILES = 1_024
"""What is assumed where the system does not say."""
_OTHER_FILES = 64
"""Files that are not connections: the data file, modules, logs."""
_BACKLOG = 128

logger = logging.getLogger("resonate.server")


class Room(NamedTuple):
    """What fits into a limit of open files.

    Attributes:
        connections: open at the same time.
        streams: of these. Half, because a worker that polls holds a second connection open for its requests.
        backlog: connections that one turn of the event loop accepts for each address, before any can be refused.
    """

    connections: int
    streams: int
    backlog: int


def room_in(limit: int) -> Room:
    """Share a limit of open files out."""
    backlog = max(1, min(_BACKLOG, limit // 8))
    connections = limit - min(limit // 2, _OTHER_FILES + CONCURRENCY + 2 * backlog)
    streams = min(MAX_CONNECTIONS, connections // 2)
    return Room(connections, streams, backlog)


def limit_of_files() -> int:
    """The limit of open files of this process."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return ASSUMED_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_FILES if soft == resource.RLIM_INFINITY else soft


def raise_limit_of_files() -> None:
    """Raise the limit of open files to `WANTED_FILES`, or as far as the system lets this process."""
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
