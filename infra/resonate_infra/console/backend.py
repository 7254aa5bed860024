"""What the console shows: the promises behind a server, or those in a table.

Every page asks a `StoreSession`, as a command of the command line does. `resonate dev` gives the console a server in
its own process, so tokens, debug requests and the count of workers are the same as over HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeGuard

from msgspec.structs import replace

from resonate_infra.inspection.session import StoreSession
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.workers import WorkerView
from resonate_store.remote.http import Post, Reply
from resonate_store.remote.server_client import ServerClient
from resonate_store.remote.store import HttpStore

Describe = Callable[[str], list[dict[str, Any]] | str]
"""Function that returns the descriptions of the functions at a `lambda://` address, or why they are not known."""

KEPT_MS: Final = 300_000
"""How long (ms) the answer of a Lambda function is kept. A page that is open asks for it every few seconds."""


class Descriptions:
    """What Lambda functions answer to the question what they serve.

    Args:
        describe: asks a function.
        clock: the source of time.
    """

    def __init__(self, describe: Describe, clock: Clock) -> None:
        self._describe = describe
        self._clock = clock
        self._answers: dict[str, tuple[int, list[dict[str, Any]] | str]] = {}

    def add(self, worker: WorkerView) -> WorkerView:
        """Return the worker with the descriptions of its functions, if it is a Lambda function that answers."""
        if worker.functions is not None or not is_function(worker.address):
            return worker
        answer = self._of(worker.address)
        return worker if isinstance(answer, str) else replace(worker, functions=answer)

    def missing(self, address: str) -> str:
        """Return why the functions at an address are not known, or an empty text."""
        if not is_function(address):
            return "only Lambda functions can be asked what they serve"
        answer = self._of(address)
        return answer if isinstance(answer, str) else ""

    def _of(self, address: str) -> list[dict[str, Any]] | str:
        now = self._clock.now()
        asked_at, answer = self._answers.get(address, (0, ""))
        if address not in self._answers or now - asked_at >= KEPT_MS:
            answer = self._describe(address)
            self._answers[address] = now, answer
        return answer


def is_function(address: str | None) -> TypeGuard[str]:
    """Return whether an address is that of a Lambda function."""
    return address is not None and address.startswith("lambda://")


class ConsoleSession(StoreSession):
    """Session of one user of the console.

    Args:
        store: the store, with the credentials of the user.
        clock: the source of time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def store(self) -> Store:
        return self._store

    @property
    def clock(self) -> Clock:
        return self._store.server_clock or self._clock


class Backend(ABC):
    """Deployment that the console shows.

    Attributes:
        name: the place of the promises, for people.
        asks_for_token: whether a user must sign in with a token.
    """

    name: str
    asks_for_token: bool = False

    @abstractmethod
    def session(self, token: str | None) -> StoreSession:
        """Return the session of a user. `token` is what the user has signed in with."""

    @abstractmethod
    def workers(self, token: str | None) -> list[WorkerView] | None:
        """Return the workers that are known, or None if that question has no answer here."""

    def missing(self, address: str) -> str:  # noqa: ARG002
        """Return why the functions at the address of a group are not known, or an empty text."""
        return ""

    def takes(self, kind: str, token: str | None) -> bool:  # noqa: ARG002
        """Return whether a request of this kind can be made. It is an addition to the official protocol."""
        return True

    def moves_time(self, token: str | None) -> bool:  # noqa: ARG002
        """Return whether `advance` does anything."""
        return False

    def advance(self, token: str | None, milliseconds: int) -> bool:  # noqa: ARG002
        """Do now what is due within this time. Return False if this is not permitted."""
        return False


class ServerBackend(Backend):
    """Promises of a server.

    Args:
        server: its address, and the credentials of the console itself.
        name: the place of the promises, for people.
        clock: the source of time.
        asks_for_token: whether a user must sign in with a token.
        post: makes one try of a request. Default: over HTTP.
        describe: asks a function for its descriptions. Default: only the server is asked.
    """

    def __init__(
        self,
        server: ServerSettings,
        name: str,
        clock: Clock,
        *,
        asks_for_token: bool = False,
        post: Post | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.name = name
        self.asks_for_token = asks_for_token
        self._server = server
        self._clock = clock
        self._post = post
        self._kinds: Collection[str] | None = None
        self._descriptions = None if describe is None else Descriptions(describe, clock)

    def session(self, token: str | None) -> StoreSession:
        store = HttpStore(server=self._as(token), clock=self._clock, post=self._post)
        store.insistent = False
        return ConsoleSession(store, self._clock)

    def workers(self, token: str | None) -> list[WorkerView] | None:
        found = self._client(token).workers()
        if found is None or self._descriptions is None:
            return found
        return [self._descriptions.add(each) for each in found]

    def missing(self, address: str) -> str:
        return "" if self._descriptions is None else self._descriptions.missing(address)

    def takes(self, kind: str, token: str | None) -> bool:
        if self._kinds is None:
            self._kinds = self._client(token).kinds()
        return kind in self._kinds

    def moves_time(self, token: str | None) -> bool:
        return self._client(token).takes_debug_requests()

    def advance(self, token: str | None, milliseconds: int) -> bool:
        return self._client(token).tick(self._clock.now() + milliseconds)

    def _client(self, token: str | None) -> ServerClient:
        return ServerClient(self._as(token), self._clock, self._post)

    def _as(self, token: str | None) -> ServerSettings:
        server = self._server
        return server if token is None else ServerSettings(server.url, server.messages_url, token)


def post_to(answer: Callable[[bytes], tuple[int, bytes]]) -> Post:
    """Return a `Post` that calls the service of a server in this process."""

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        status, content = answer(body)
        return Reply(status, {}, content)

    return post


class TableBackend(Backend):
    """Promises in a table.

    Args:
        session: the session of this process.
        name: the place of the promises, for people.
        groups: the push address of each worker group.
        describe: asks a function for its descriptions.
    """

    def __init__(self, session: StoreSession, name: str, groups: Mapping[str, str], describe: Describe) -> None:
        self.name = name
        self._session = session
        self._groups = groups
        self._descriptions = Descriptions(describe, session.clock)

    def session(self, token: str | None) -> StoreSession:  # noqa: ARG002
        return self._session

    def workers(self, token: str | None) -> list[WorkerView] | None:  # noqa: ARG002
        found = [WorkerView(group, address=address) for group, address in sorted(self._groups.items())]
        return [self._descriptions.add(each) for each in found]

    def missing(self, address: str) -> str:
        return self._descriptions.missing(address)
