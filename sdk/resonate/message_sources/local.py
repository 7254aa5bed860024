"""Queue of the messages of a store in this process.

A program that uses the store directly reads them with `next`. A `Resonate` that is given the source takes its group and
process id from it, and receives the messages directly.
"""

from __future__ import annotations

import queue
from typing import Any, Protocol, runtime_checkable

from resonate_store.model.addresses import group_of
from resonate_store.model.clock import LONGEST_WAIT_S, Clock

Message = dict[str, Any]
"""`{"type": "invoke" | "resume", "task": {"id", "counter"}}` or `{"type": "notify", "promise": {...}}`, as in
SDK 0.6.7 (docs/protocol.md 4.5)."""

_NUDGE: Message = {}


@runtime_checkable
class MessageSource(Protocol):
    """Protocol of a source of messages.

    Attributes:
        unicast: its address. A message to it is for this process only.
        anycast: the address of its group. A message to it is for any process of the group.
    """

    @property
    def unicast(self) -> str: ...

    @property
    def anycast(self) -> str: ...

    def start(self) -> None:
        """Begin to receive messages."""
        ...

    def stop(self) -> None:
        """Receive no more messages, and end `next`."""
        ...

    def next(self) -> Message | None:
        """Wait for a message and return it. Return None once the source is stopped."""
        ...

    def enqueue(self, mesg: Message, /) -> None:
        """Add the message `mesg` to the queue."""
        ...


class Broker(Protocol):
    """Protocol of a store in this process that delivers its messages to connected sources."""

    clock: Clock

    def next_wake_at(self) -> int | None: ...

    def tick(self) -> int: ...

    def connect(self, source: LocalMessageSource, /) -> None: ...

    def disconnect(self, source: LocalMessageSource, /) -> None: ...


class LocalMessageSource:
    """The messages of a `LocalStore` for one process of one worker group.

    Args:
        store: the store.
        group: the worker group.
        id: the process in the group.
    """

    def __init__(self, store: Broker, group: str, id: str) -> None:
        self._store = store
        self._group = group
        self._id = id
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    @property
    def group(self) -> str:
        """The worker group."""
        return self._group

    @property
    def id(self) -> str:
        """The process in the group."""
        return self._id

    @property
    def unicast(self) -> str:
        """The address of this process."""
        return f"poll://uni@{self._group}/{self._id}"

    @property
    def anycast(self) -> str:
        """The address of the group. A message to it is delivered to this process if possible."""
        return f"poll://any@{self._group}/{self._id}"

    def start(self) -> None:
        """Begin to receive messages."""
        self._store.connect(self)

    def stop(self) -> None:
        """Receive no more messages; `next` returns None to a caller that waits."""
        self._store.disconnect(self)
        self._messages.put(None)

    def takes(self, address: str) -> bool:
        """Return whether a message to `address` is for this process."""
        if address.startswith("poll://uni@"):
            return address == self.unicast
        return group_of(address) == self._group

    def enqueue(self, mesg: Message, /) -> None:
        """Add the message `mesg` to the queue."""
        self._messages.put(mesg)

    def nudge(self) -> None:
        """Make a caller that waits for a message read the clock again."""
        self._messages.put(_NUDGE)

    def next(self) -> Message | None:
        """Wait for a message, and carry out meanwhile what is due in the store.

        Returns:
            The message; None once the source is stopped.
        """
        while True:
            due = self._store.next_wake_at()
            try:
                left = LONGEST_WAIT_S if due is None else max(0, due - self._store.clock.now()) / 1000
                message = self._messages.get(timeout=min(left, LONGEST_WAIT_S))
            except queue.Empty:
                self._store.tick()
                continue
            if message is not _NUDGE:
                return message
