"""Announcement of a worker's functions to the server, when the stream of its messages opens.

Only the development server of this project takes it (docs/protocol.md 2.3). Any other server refuses it, which does no
harm. The request has a thread of its own, so that messages are received meanwhile.
"""

from __future__ import annotations

import logging
import threading

from resonate.message_sources.source import Messages
from resonate.workflow.registry import Registry
from resonate_store.interface import Distant, StoreError
from resonate_store.model.clock import Clock

logger = logging.getLogger("resonate.messages")

PATIENCE_S = 5
"""How long (seconds) the end of a process waits for an announcement."""


class Announcement:
    """Announcement of one worker.

    Args:
        store: the store of the server.
        registry: the functions of this process.
        group, pid: the worker group and the name of this process.
        clock: the source of time.
    """

    def __init__(self, store: Distant, registry: Registry, group: str, pid: str, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._group = group
        self._pid = pid
        self._clock = clock
        self._thread: threading.Thread | None = None

    def changed(self, source: Messages) -> None:
        """Announce the functions if the connection of the source was made, and not if it was lost."""
        if source.connected and self._registry.names():
            self._thread = threading.Thread(target=self._send, name="resonate-announce", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Wait until the request that is under way has ended."""
        if self._thread is not None:
            self._thread.join(PATIENCE_S)

    def _send(self) -> None:
        from resonate.worker.descriptions import descriptions_of  # here, because only polling workers need them
        from resonate_store.remote.server_client import ServerClient

        try:
            taken = ServerClient(self._store.server, self._clock).announce(
                self._group, self._pid, descriptions_of(self._registry)
            )
        except StoreError as error:
            logger.debug("the functions could not be announced: %s", error)
        else:
            logger.debug("the functions are announced" if taken else "the server takes no announcement of functions")
