"""Requests about the workers of a server: `worker.announce` and `worker.search` (docs/protocol.md 2.3).

They are additions to the official protocol, and other servers answer them as unknown kinds. Workers do not poll a
deployed API, which refuses every announcement.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Raw, Struct

from resonate_store.protocol.wire import WireError, read

ANNOUNCE: Final = "worker.announce"
SEARCH: Final = "worker.search"
KINDS_OF_WORKERS: Final = (ANNOUNCE, SEARCH)
"""The kinds of requests in this module."""


class AnnouncedWorker(Struct):
    """Data of `worker.announce`: the process `id` of a group, and the descriptions of its functions."""

    group: str
    id: str
    functions: list[dict[str, Any]]


class WorkerView(Struct, omit_defaults=True):
    """A worker as `worker.search` shows it.

    `id` is the process, or None for a worker that the server invokes at `address`. `functions` are the descriptions of
    its functions, or None if it has announced none.
    """

    group: str
    id: str | None = None
    address: str | None = None
    functions: list[dict[str, Any]] | None = None


class FoundWorkers(Struct):
    """Data of the response to `worker.search`."""

    workers: list[WorkerView]


class WorkerDirectory(Protocol):
    """The workers that a server knows."""

    def announce(self, worker: AnnouncedWorker, prefix: str) -> bool:
        """Keep the functions of a worker while it polls. Return False if it does not poll.

        Args:
            worker: the worker.
            prefix: the id prefix of the worker's token.
        """
        ...

    def workers(self, prefix: str) -> list[WorkerView]:
        """Return the workers that serve ids with this prefix, by group."""
        ...


def perform_about_workers(directory: WorkerDirectory, kind: str, data: Raw, prefix: str) -> Any:
    """Carry out a request of `KINDS_OF_WORKERS` and return the data of its response.

    Raises:
        WireError: its data is wrong.
    """
    if kind == SEARCH:
        return FoundWorkers(directory.workers(prefix))
    if not directory.announce(read(AnnouncedWorker, data, "Invalid request"), prefix):
        raise WireError("Invalid request: this worker has no stream; open it first")
    return {}
