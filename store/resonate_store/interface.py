"""What a promise store is to those who use it.

`Store` is all that the programming model needs; memory, SQLite, DynamoDB and a remote server offer it alike. `Outlets`
is what the effects of a write need of their surroundings, and `deliver` carries one write's effects out: in process for
the embedded stores, in the stream's consumer and the sweep for DynamoDB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from resonate_store.machine.effects import (
    Arm,
    ArmSchedule,
    Change,
    Disarm,
    DisarmSchedule,
    Execute,
    FireSchedule,
    Resume,
    Retain,
    Unblock,
    effects,
    message_of,
)
from resonate_store.model.clock import Clock
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.requests import PromiseDelivered, PromiseGet, Request, Response, TaskResume

if TYPE_CHECKING:
    from resonate_store.model.servers import ServerSettings

Send = Callable[[str, dict[str, Any]], bool | None]
"""Takes an address and a message; False says that the address is not served."""


class StoreError(Exception):
    """The store itself cannot answer: it is missing, closed, unreachable or refuses us."""


class StoreUnreachable(StoreError):
    """The store did not answer in time. What was asked may have been done or not; asking again later may help."""


class DamagedRecord(StoreError):
    """What is stored under an id cannot be read; the message names it."""


class MovedFile(StoreError):
    """The path of the store's file does not lead to it any more; the message names it."""


class StoreClosed(StoreError):
    """The invocation that this store belonged to has ended; nothing may be written any more."""


class MinimalStore(Protocol):
    """What a class of a user's has to offer to be a store: it carries requests out, each atomically."""

    def apply(self, request: Request) -> Response:
        """Carry out one request.

        Returns:
            The response; what the protocol knows as a failure is a status, not an exception.

        Raises:
            StoreError: the store cannot answer at all.
        """
        ...

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        """The direct children of the promise `id`, without those that are due and pending (docs/rules.md R8).

        Their params, and values that are very large, may be claims: `whole` asks for the promise itself.
        `separator` is what stands between an id and its child's number; the official SDKs have ":" below a root.
        """
        ...

    def open(self) -> MinimalStore:
        """This store for the duration of one invocation."""
        ...

    def close(self) -> None:
        """End the invocation: whoever still holds the opened store, a thawed thread for one, can write nothing."""
        ...


@runtime_checkable
class Embedded(Protocol):
    """Store in this process. Its timers fire only when `tick` is called."""

    clock: Clock

    @property
    def send(self) -> Send:
        """Where messages go."""
        ...

    def subscribe(self, *, send: Send | None = None, on_wake: Callable[[int], None] | None = None) -> Send:
        """Listen to the store in place of the present listener, and return where messages went before.

        Args:
            send: takes an address and a message; must not wait for the receiver.
            on_wake: takes the instant (milliseconds) of the next wake-up whenever that comes nearer.
        """
        ...

    def next_wake_at(self) -> int | None:
        """Return the instant (milliseconds) of the next wake-up; None if nothing is armed."""
        ...

    def tick(self) -> int:
        """Wake what is due, and return how many entries that were."""
        ...


@runtime_checkable
class Distant(Protocol):
    """Store of a server, reached over a network.

    Attributes:
        server: the server's addresses and credentials.
    """

    server: ServerSettings

    @property
    def insistent(self) -> bool:
        """Whether requests that fail on the way are repeated."""
        ...

    @insistent.setter
    def insistent(self, insistent: bool) -> None: ...

    def within(self, seconds: float) -> Store:
        """Return this store for a caller that can wait so many seconds for one request."""
        ...


class Store(MinimalStore, Protocol):
    """A store, with all that a worker or client asks of one.

    A class of stores inherits from it: what is optional has its default here.
    """

    def open(self) -> Store:
        """This store for the duration of one invocation."""
        ...

    @property
    def underlying(self) -> Store:
        """The store itself, without what encrypts for it or counts."""
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
        """The clock of the store's server, on which deadlines are computed; None if the store has no server."""
        return None

    @property
    def fences_records(self) -> bool:
        """Whether the store refuses the outcome of a step from a worker that no longer holds the task."""
        return False

    def fences_records_by(self, id: str, version: int) -> bool:  # noqa: ARG002
        """Return whether the records below this task are fenced by this version: the newest one that is held here."""
        return False


class StoreWrapper(Store):
    """A store around another one: what a subclass does not change is left to the other.

    Args:
        store: the other store.
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

    def fences_records_by(self, id: str, version: int) -> bool:
        return self._store.fences_records_by(id, version)


class PlainStore(StoreWrapper):
    """A store of a class that does not inherit from `Store`: what else it has is found by name.

    Args:
        store: the store of the user's class.
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

    def fences_records_by(self, id: str, version: int) -> bool:
        return self.underlying.fences_records_by(id, version)

    def is_of(self, store: Store) -> bool:
        """Return whether this completes `store`, and nothing lies between."""
        return self._store is store


def _has_own_underlying(store: object) -> bool:
    """Return whether a store is a wrapper, and does not only pass on what another store says."""
    return hasattr(type(store), "underlying") or (hasattr(store, "__dict__") and "underlying" in vars(store))


def completed(store: MinimalStore) -> Store:
    """Return the store with every member of `Store`: a user's class may have the four methods alone."""
    return cast("Store", store) if Store in type(store).__mro__ else PlainStore(store)


class Applies(Protocol):
    """Whatever carries requests out."""

    def apply(self, request: Request) -> Response: ...


class Outlets(Protocol):
    """Where effects go."""

    def apply(self, request: Request) -> Response: ...

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Hand the message over to whoever delivers to `address`; never wait for the receiver's work."""
        ...

    def notify(self, address: str, promise: PromiseView) -> None:
        """Have the settled promise sent to a listener; its values may be claims. Never wait for the listener."""
        ...

    def arm(self, id: str, at: int) -> None:
        """Have the promise woken at the instant `at` (milliseconds), not earlier."""
        ...

    def disarm(self, id: str) -> None:
        """Let the promise be woken no more by what was armed for a distant instant, if that is still there."""
        ...

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        """Have the schedule fired whenever `cron` occurs in `timezone` (UTC if None), until it is disarmed."""
        ...

    def fire_schedule(self, id: str, at: int) -> None:
        """Have the schedule fired once at the instant `at` (milliseconds), not earlier."""
        ...

    def disarm_schedule(self, id: str) -> None: ...

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        """Let the settled root and its tree go once its retention is over."""
        ...


def whole(promise: PromiseView, store: Applies) -> PromiseView:
    """The promise with its values, wherever they lie; asks `store` for it if one of them is not here.

    Raises:
        StoreError: the store cannot answer.
    """
    if promise.whole:
        return promise
    response = store.apply(PromiseGet(promise.id))
    if response.status >= 500:
        raise StoreError(f"{promise.id!r} cannot be read: {response.error}")
    return response.promise or promise


def deliver(change: Change, outlets: Outlets) -> None:
    """Carry out the effects of one write.

    A settlement that has reached everybody is marked delivered last, so one that fails half way is repeated whole:
    every effect bears repetition.

    Raises:
        StoreError: the store was too busy to carry one out.
    """
    outstanding = effects(change.before, change.after)
    for effect in outstanding:
        match effect:
            case Resume():
                _apply(TaskResume(effect.awaiter, effect.version, effect.awaited), outlets)
            case Execute():
                outlets.send(effect.address, message_of(effect))
            case Unblock():
                outlets.notify(effect.address, effect.promise)
            case Arm():
                outlets.arm(effect.id, effect.at)
            case Disarm():
                outlets.disarm(effect.id)
            case ArmSchedule():
                outlets.arm_schedule(effect.id, effect.cron, effect.timezone)
            case FireSchedule():
                outlets.fire_schedule(effect.id, effect.at)
            case DisarmSchedule():
                outlets.disarm_schedule(effect.id)
            case Retain():
                outlets.retain(effect.id, effect.created_at, effect.settled_at)
    after = change.after
    if outstanding and isinstance(after, Record) and after.owes:
        _apply(PromiseDelivered(after.id), outlets)


def _apply(request: TaskResume | PromiseDelivered, outlets: Outlets) -> None:
    response = outlets.apply(request)
    if response.status >= 500:
        raise StoreError(f"{request.kind} of {request.id!r}: {response.error}")
