"""Interface of a promise store.

`Store` is all that a client or worker needs. The stores in memory, in SQLite, in DynamoDB and on a remote server
implement it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from resonate_store.documented import Documented
from resonate_store.model.clock import Clock
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseGet, Request, Response

if TYPE_CHECKING:
    from resonate_store.model.servers import ServerSettings

Send = Callable[[str, dict[str, Any]], bool | None]
"""Sends a message to an address. The result is False if nothing serves the address."""


class StoreError(Documented, Exception):
    """Raised when the store cannot answer: it is closed or unreachable, has no table, or refuses this client."""


class StoreUnreachable(StoreError):
    """Raised when the store did not answer in time. The request may have been carried out. A later try may succeed."""


class DamagedRecord(StoreError):
    """Raised when a stored record cannot be read. The message names its id."""


class MovedFile(StoreError):
    """Raised when the store's file is not at its path any more. The message names the path."""


class StoreClosed(StoreError):
    """Raised when the invocation of this store has ended. Nothing can be written through it any more."""


class MinimalStore(Protocol):
    """The four methods that a user's own store class must have. Each request is carried out atomically."""

    def apply(self, request: Request) -> Response:
        """Carry out one request.

        Args:
            request: a request of `resonate_store.model.requests`.

        Returns:
            The response. A failure that the protocol knows is a status from 400 on, not an exception.

        Raises:
            StoreError: the store cannot answer.
        """
        ...

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        """Return the direct children of a promise that are settled or not yet due (docs/rules.md R8).

        Args:
            id: the id of the parent.
            separator: the text between the parent's id and the number of the child. The official SDKs use ":" below a
                root. `ids.below` gives the text of a later generation, and `ids.INBOX` is that of the messages.

        Returns:
            The children in any order. Their params and their very large values may be claims; `whole` reads such a
            promise completely.

        Raises:
            StoreError: the store cannot answer.
        """
        ...

    def open(self) -> MinimalStore:
        """Return this store for one invocation. The invocation closes it at its end."""
        ...

    def close(self) -> None:
        """End the invocation. After that, a thread that still has the opened store cannot write."""
        ...


@runtime_checkable
class Embedded(Protocol):
    """Store in this process. Its timers fire only when `tick` is called."""

    clock: Clock

    @property
    def send(self) -> Send:
        """The function that gets the messages."""
        ...

    def subscribe(self, *, send: Send | None = None, on_wake: Callable[[int], None] | None = None) -> Send:
        """Replace the present subscriber and return the function that got the messages before.

        Args:
            send: gets an address and a message. It must not wait for the receiver. None keeps the present function.
            on_wake: gets the instant (ms) of the next wake-up whenever it becomes earlier. None keeps the present
                function.
        """
        ...

    def next_wake_at(self) -> int | None:
        """Return the instant (ms) of the next wake-up, or None if no wake-up is armed."""
        ...

    def tick(self) -> int:
        """Do what is due now. Return on how many promises and schedules it did so."""
        ...


@runtime_checkable
class Distant(Protocol):
    """Store of a server, over a network.

    Attributes:
        server: the address and credentials of the server.
    """

    server: ServerSettings

    @property
    def insistent(self) -> bool:
        """Whether failed tries of a request are repeated."""
        ...

    @insistent.setter
    def insistent(self, insistent: bool) -> None: ...

    def within(self, seconds: float) -> Store:
        """Return this store with a timeout of at most `seconds` for each request."""
        ...


class Store(MinimalStore, Protocol):
    """A store with all that a worker or client uses.

    A store class of your own can inherit from it. Its optional members have defaults here.
    """

    def open(self) -> Store:
        """Return this store for one invocation. The invocation closes it at its end."""
        ...

    @property
    def underlying(self) -> Store:
        """The store without its wrappers, for example the ones that encrypt payloads or count requests."""
        return self

    @property
    def embedded(self) -> Embedded | None:
        """The underlying store if it is in this process, else None."""
        inner = self.underlying
        return None if inner is self else completed(inner).embedded

    @property
    def distant(self) -> Distant | None:
        """The underlying store if it is a server's, else None."""
        inner = self.underlying
        return None if inner is self else completed(inner).distant

    @property
    def server_clock(self) -> Clock | None:
        """The clock of the store's server, in whose time deadlines are computed. None if the store has no server."""
        return None

    @property
    def fences_records(self) -> bool:
        """Whether the store refuses the outcome of a step from a worker that no longer holds the task."""
        return False

    @property
    def registers_singly(self) -> bool:
        """Whether awaited promises are registered one by one, at their creation if possible. The default is False.

        A store for which this is true takes `AwaitedCreate` and `PromiseAwait`.
        """
        return False

    @property
    def hands_over_callers(self) -> bool:
        """Whether the store takes a `FulfillAndTakeOver`. The default is False."""
        return False

    @property
    def has_generations(self) -> bool:
        """Whether the store takes a `TaskContinueAs`. The default is True: only another server may not know it."""
        return True

    @property
    def continues_at_once(self) -> bool:
        """Whether the store takes a `ContinueWithArguments`. The default is False."""
        return False

    @property
    def takes_messages(self) -> bool:
        """Whether the store takes a `MessageSend`, `TaskReceive` and `TaskPublish`. The default is False."""
        return False

    def fences_records_by(self, id: str, version: int) -> bool:  # noqa: ARG002
        """Return whether this version of a task fences the records of its steps.

        Args:
            id: the id of the task.
            version: the version of the task.

        Returns:
            True if `version` is the newest one that this store has acquired. The default is False.
        """
        return False


class StoreWrapper(Store):
    """A store around another store. Every member that a subclass does not override calls the inner store.

    Args:
        store: the inner store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, request: Request) -> Response:
        return self._store.apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self._store.children(id, separator)

    def open(self) -> Store:
        return self._store.open()

    def close(self) -> None:
        self._store.close()

    @property
    def server_clock(self) -> Clock | None:
        return self._store.server_clock

    @property
    def fences_records(self) -> bool:
        return self._store.fences_records

    @property
    def registers_singly(self) -> bool:
        return self._store.registers_singly

    @property
    def hands_over_callers(self) -> bool:
        return self._store.hands_over_callers

    @property
    def has_generations(self) -> bool:
        return self._store.has_generations

    @property
    def continues_at_once(self) -> bool:
        return self._store.continues_at_once

    @property
    def takes_messages(self) -> bool:
        return self._store.takes_messages

    def fences_records_by(self, id: str, version: int) -> bool:
        return self._store.fences_records_by(id, version)


class PlainStore(StoreWrapper):
    """A complete store around a user's store whose class does not inherit from `Store`.

    Optional members of the user's store are used if they exist.

    Args:
        store: the user's store.
    """

    def __init__(self, store: MinimalStore) -> None:
        self._store: Any = store

    def open(self) -> Store:
        return completed(self._store.open())

    @property
    def underlying(self) -> Store:
        store: Any = self._store
        while _has_own_underlying(store):
            inner = store.underlying
            if inner is store:
                break
            store = inner
        return store

    @property
    def embedded(self) -> Embedded | None:
        inner = self.underlying
        return inner if isinstance(inner, Embedded) else None

    @property
    def distant(self) -> Distant | None:
        inner = self.underlying
        return inner if isinstance(inner, Distant) else None

    @property
    def server_clock(self) -> Clock | None:
        return getattr(self._store, "server_clock", None)

    @property
    def fences_records(self) -> bool:
        inner = self.underlying
        return getattr(inner, "fences_records", hasattr(inner, "fences_records_by"))

    @property
    def registers_singly(self) -> bool:
        return getattr(self.underlying, "registers_singly", False)

    @property
    def hands_over_callers(self) -> bool:
        return getattr(self.underlying, "hands_over_callers", False)

    @property
    def has_generations(self) -> bool:
        return getattr(self.underlying, "has_generations", True)

    @property
    def continues_at_once(self) -> bool:
        return getattr(self.underlying, "continues_at_once", False)

    @property
    def takes_messages(self) -> bool:
        return getattr(self.underlying, "takes_messages", False)

    def fences_records_by(self, id: str, version: int) -> bool:
        return self.underlying.fences_records_by(id, version)

    def is_of(self, store: Store) -> bool:
        """Return whether this object wraps `store` directly."""
        return self._store is store


def _has_own_underlying(store: object) -> bool:
    """Return whether a store defines `underlying` itself. Attributes found through `__getattr__` do not count."""
    return hasattr(type(store), "underlying") or (hasattr(store, "__dict__") and "underlying" in vars(store))


def completed(store: MinimalStore) -> Store:
    """Return the store with every member of `Store`. A user's class may only have those of `MinimalStore`."""
    return cast("Store", store) if Store in type(store).__mro__ else PlainStore(store)


class Applies(Protocol):
    """An object that carries out requests."""

    def apply(self, request: Request) -> Response: ...


def whole(promise: PromiseView, store: Applies) -> PromiseView:
    """Return the promise with its values. If one of them is a claim, read the promise from `store`.

    Args:
        promise: the promise as a response or an effect has it.
        store: the store that has the promise.

    Returns:
        The complete promise, or `promise` unchanged if the store does not have it any more.

    Raises:
        StoreError: the store cannot answer.
    """
    if promise.whole:
        return promise
    response = store.apply(PromiseGet(promise.id))
    if response.status >= 500:
        raise StoreError(f"{promise.id!r} cannot be read: {response.error}")
    return response.promise or promise
