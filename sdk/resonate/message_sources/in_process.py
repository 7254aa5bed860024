"""Messages of a store in this process.

Several connections can share such a store: a worker and a client in one test, or two groups in one program. The store
has one subscriber, the exchange, which delivers each message:

- A message goes to the process that its address names, or else to any process of the group.
- The execute message of a call that a connection has begun goes to this connection, whatever the call's target.
- If no other process can serve a target (`serve_every_target`), its execute messages go to any connection. One that has
  registered the function is preferred.
- An execute message for a group that is stopped is kept until the group starts again.
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
    """A message with the address that it was sent to."""

    def __init__(self, message: Message, address: str) -> None:
        super().__init__(message)
        self.address = address


class InProcess:
    """Receiver of the messages of a store in this process.

    Args:
        store: the store.
        group, id: the worker group and the name of this process.
        on_wake: called with the instant (ms since the epoch) whenever the store's next wake-up becomes earlier.
        has_begun: returns whether this process has begun the call with this id.
        knows: returns whether the function that the promise with this id calls is registered here.
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
        """From now on, let the connections to this store serve every target that is not served otherwise."""
        self._exchange.serves_every_target = True

    @property
    def connected(self) -> bool:
        return self.receive is not None

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to receive. Such a source stays connected, so `changed` is never called."""
        del changed
        self.receive = receive
        self._exchange.deliver_kept()

    def stop(self) -> None:
        self.receive = None

    def decline(self, message: Message) -> None:
        """Return an execute message that this process does not use.

        It goes to another process of the group, or to this one at its next start.
        """
        self._exchange.decline(self, message)


class Exchange:
    """Distributor of a store's messages and wake-ups to the connections in this process."""

    def __init__(self, store: Embedded) -> None:
        self._lock = threading.Lock()
        self._sources: list[InProcess] = []
        self._kept: dict[str, tuple[str, Message]] = {}
        self.serves_every_target = False
        self._others = store.send  # before a message can arrive
        self._others = store.subscribe(send=self, on_wake=self._wake)

    @classmethod
    def of(cls, store: Embedded) -> Exchange:
        """Return the exchange of this store. The first connection makes it."""
        return store.send if isinstance(store.send, Exchange) else cls(store)

    def add(self, source: InProcess) -> None:
        with self._lock:
            self._sources.append(source)

    def deliver_kept(self) -> None:
        """Send the kept messages again. When they were first sent, no connection could receive them."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for address, message in kept.values():
            self(address, message)

    def decline(self, source: InProcess, message: Message) -> None:
        """Send an execute message again that a process of its group does not use."""
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
    """Deliver a message to the first connected source, and return whether there is one."""
    for source in sources:
        receive = source.receive
        if receive is not None:
            receive(Addressed(message, address))
            return True
    return False
