"""Client for requests about a server itself: its workers, and the debug requests that move its time."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

from resonate_store.interface import StoreError
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.ids import random_id
from resonate_store.model.requests import PromiseGet
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.wire import WireError, read
from resonate_store.protocol.workers import ANNOUNCE, SEARCH, FoundWorkers, WorkerView
from resonate_store.remote.http import Calls, Post
from resonate_store.remote.post import HttpPost

TIMEOUT_S = 5.0
"""How long (s) a request may take. It is not repeated."""


class ServerClient:
    """Client of one server.

    Args:
        server: its address and the credentials.
        clock: the source of time. Default: the clock of the process.
        post: makes one try of a request. Default: over HTTP.
    """

    def __init__(self, server: ServerSettings, clock: Clock | None = None, post: Post | None = None) -> None:
        self._url = server.url
        jitter = random.Random().random
        self._calls = Calls(server, clock or ambient(), random_id, jitter, post or HttpPost(server.url))
        self._calls.insistent = False

    def announce(self, group: str, id: str, functions: list[Any]) -> bool:
        """Announce the functions of a worker. Return False if the server refuses it, as other servers do.

        Raises:
            StoreError: the server does not answer.
        """
        return self._status(ANNOUNCE, {"group": group, "id": id, "functions": functions}) < 400

    def workers(self) -> list[WorkerView] | None:
        """Return the workers that the server knows. Return None if it does not answer this question.

        Raises:
            StoreError: the server does not answer.
        """
        answer = self._calls.call(SEARCH, {}, TIMEOUT_S)
        if answer.status >= 400:
            return None
        try:
            return read(FoundWorkers, answer.data, f"Invalid response to {SEARCH}").workers
        except WireError as error:
            raise StoreError(f"{self._url}: {error}") from error

    def kinds(self) -> Collection[str]:
        """Return the kinds of requests that the server advertises, which the official protocol lacks.

        Raises:
            StoreError: the server does not answer.
        """
        self._calls.call(PromiseGet.kind, {"id": "resonate"}, TIMEOUT_S)
        return self._calls.kinds

    def tick(self, time: int) -> bool:
        """Do what is due at the instant `time` (ms). Return False if the server takes no debug requests.

        Raises:
            StoreError: the server does not answer.
        """
        return self._status("debug.tick", {"time": time}) < 400

    def takes_debug_requests(self) -> bool:
        """Return whether the server takes debug requests. The question changes nothing.

        Raises:
            StoreError: the server does not answer.
        """
        return self.tick(0)

    def _status(self, kind: str, data: Any) -> int:
        return self._calls.call(kind, data, TIMEOUT_S).status
