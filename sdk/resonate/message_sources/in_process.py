"""Messages of a store that lives in this process.

Several connections may share such a store - a worker's and a client's in one test, two groups in one program. The
store has one listener, so an exchange subscribes and hands on what it hears: a message to the process it names,
else to any of its group. The execute message of a call that a connection has begun itself goes to this connection,
whatever the call's target. Where no other process can serve a target (`serve_every_target`), the execute message of one
that is not served goes to any connection, to one that knows the function first. An execute message for a group that
has stopped for a while is kept until it starts again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from resonate.message_sources.source import Receive
from resonate_store.interface import Embedded
from resonate_store.model.addresses import group_of

Message = dict[str, Any]


class Addressed(dict[str, Any]):
    """A message that knows the address it was sent to."""

    def __init__(self, message: Message, address: str) -> None:
        super().__init__(message)
        self.address = address


class InProcess:
    """Receives the messages of a store in this process.

    Args:
        store: the store.
        group, id: who this process is.
        on_wake: told the instant (milliseconds) whenever the store's next wake-up comes nearer.
        has_begun: tells whether this process has begun the call with this id.
        knows: tells whether the function that the promise with this id calls is registered here.
    """

    def __init__(
        self,
        store: Embedded,
        group: str = "default",
        id: str = "local",
        on_wake: Callable[[int], None] | None = None,
        has_begun: Callable[[str], bool] = lambda _: False,
        knows: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.group = group
        self.unicast = f"poll://uni@{group}/{id}"
        self.anycast = f"poll://any@{group}/{id}"
        self.on_wake = on_wake
        self.has_begun = has_begun
        self.knows = knows
        self.receive: Receive | None = None
        self._exchange = Exchange.of(store)
        self._exchange.add(self)

    def serve_every_target(self) -> None:
        """Have the connections to this store serve targets that are not served otherwise, from now on."""
        self._exchange.serves_every_target = True

    @property
    def connected(self) -> bool:
        return self.receive is not None

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to receive; a store in this process is connected from now on, so `changed` is never called."""
        del changed
        self.receive = receive
        self._exchange.deliver_kept()

    def stop(self) -> None:
        self.receive = None

    def decline(self, message: Message) -> None:
        """Give an offer back that this process does not come to: another is made it, or this one when it starts."""
        self._exchange.decline(self, message)


class Exchange:
    """Hands a store's messages and wake-ups on to the connections in this process."""

    def __init__(self, store: Embedded) -> None:
        self._lock = threading.Lock()
        self._sources: list[InProcess] = []
        self._kept: dict[str, tuple[str, Message]] = {}
        self.serves_every_target = False
        self._others = store.send  # before a message can arrive
        self._others = store.subscribe(send=self, on_wake=self._wake)

    @classmethod
    def of(cls, store: Embedded) -> Exchange:
        """The exchange of this store, made with its first connection."""
        return store.send if isinstance(store.send, Exchange) else cls(store)

    def add(self, source: InProcess) -> None:
        with self._lock:
            self._sources.append(source)

    def deliver_kept(self) -> None:
        """Send again what somebody may now be there for."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for address, message in kept.values():
            self(address, message)

    def decline(self, source: InProcess, message: Message) -> None:
        """Make an offer again that a process of its group does not come to."""
        address = message.address if isinstance(message, Addressed) else source.anycast
        if source.receive is None:
            self(address, message)
        else:
            with self._lock:
                self._kept[message["data"]["task"]["id"]] = (address, message)

    def __call__(self, address: str, message: Message) -> bool:
        task: str | None = message["data"]["task"]["id"] if message["kind"] == "execute" else None
        begun_here = [] if task is None else [source for source in self._sources if source.has_begun(task)]
        if _received(begun_here, address, message):
            return True
        members = [source for source in self._sources if source.group == group_of(address)]
        named = [source for source in members if address in (source.unicast, source.anycast)]
        others = [] if address.startswith("poll://uni@") else [each for each in members if each not in named]
        candidates = [*named, *others]
        if not candidates:
            served = self._others(address, message) is not False
            if served or task is None or not self.serves_every_target:
                return served
            candidates = self._sources
            if len(candidates) > 1:
                candidates = sorted(candidates, key=lambda source: not source.knows(task))
        if not _received(candidates, address, message) and task is not None:
            with self._lock:
                self._kept[task] = (address, message)
        return True

    def _wake(self, at: int) -> None:
        for source in self._sources:
            if source.on_wake is not None:
                source.on_wake(at)


def _received(sources: Iterable[InProcess], address: str, message: Message) -> bool:
    """Give a message to the first of these that is connected; whether there is one."""
    for source in sources:
        receive = source.receive
        if receive is not None:
            receive(Addressed(message, address))
            return True
    return False
