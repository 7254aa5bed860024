"""Streams that workers poll, and the choice of the stream for a message (docs/protocol.md 2.3).

`poll://uni@group/id` addresses the first connection that has this id. `poll://any@group/id` prefers this connection. If
it is missing, any connection of the group receives the message, as for `poll://any@group`.

A message without a connection, or whose connection has a full buffer, is lost, as the protocol permits. A lost task
would have to wait for its next offer, which can be minutes away. So the hub holds the ids of tasks that reached no
worker, and calls `on_room` when a worker can take them. The store then decides which of them are still on offer. When a
stream ends, the hub also holds the tasks that were written to it, because the worker may not have acquired all of them.

If callers need tokens, a stream has the id prefix of its token. It receives no messages about other ids, because
messages contain values and the name of a group is not secret.

Any thread may send messages. Connections belong to the event loop, and `notify` wakes it.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from resonate_store.model.addresses import Poll, poll_of

MAX_CONNECTIONS = 1_000
"""Maximum number of streams at the same time."""
MAX_BUFFERED = 100
"""Maximum number of messages that wait to be written to one stream."""
MAX_HELD = 10_000
"""Maximum number of tasks that the hub holds for one group. Older ones wait for their next offer."""


class TooManyConnections(Exception):
    """The server has the maximum number of streams."""


class Letter(NamedTuple):
    """Message with its address."""

    address: str
    message: dict[str, Any]


class Connection:
    """Stream to one worker process of a group."""

    def __init__(self, group: str, id: str, notify: Callable[[], object], prefix: str) -> None:
        self.group = group
        self.id = id
        self.prefix = prefix
        self.notify = notify
        self.closed = False
        self.functions: list[dict[str, Any]] | None = None
        """The descriptions of the worker's functions, if it has announced them."""
        self.buffer: deque[Letter] = deque()
        self.offered: dict[str, str] = {}
        """Maps each task that was written to the stream to the address of its message, the latest last."""

    @property
    def full(self) -> bool:
        return len(self.buffer) >= MAX_BUFFERED


class Hub:
    """All streams of a server. Thread-safe.

    Args:
        choose: selects one of several connections. Default: at random.
        limit: maximum number of streams at the same time.
    """

    def __init__(
        self, choose: Callable[[Sequence[Connection]], Connection] | None = None, limit: int = MAX_CONNECTIONS
    ) -> None:
        self.on_room: Callable[[str], None] = lambda _group: None
        """Called with a group that has held tasks and a connection that may take them."""
        self._choose = choose or random.Random().choice
        self._limit = limit
        self._lock = threading.RLock()
        self._groups: dict[str, list[Connection]] = {}
        self._held: dict[str, dict[str, str]] = {}
        self._closed = False

    def connect(self, group: str, id: str, notify: Callable[[], object], prefix: str = "") -> Connection:
        """Open a stream for the worker process `id` of a group. Several streams may have the same id.

        Args:
            group, id: as in `poll://any@group/id`.
            notify: called from any thread when there is a message to take, or when the connection is closed.
            prefix: the stream receives only messages about tasks and promises whose ids begin with it.

        Raises:
            TooManyConnections: the server has the maximum number of streams.
        """
        connection = Connection(group, id, notify, prefix)
        with self._lock:
            if sum(map(len, self._groups.values())) >= self._limit:
                raise TooManyConnections(f"{self._limit} workers poll already, and no more can")
            self._groups.setdefault(group, []).append(connection)
            connection.closed = self._closed
        self._tell_of_room(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Remove a stream. Send its remaining messages to other streams, and hold the tasks that were written to it."""
        with self._lock:
            connections = self._groups.get(connection.group, [])
            if connection not in connections:
                return
            connections.remove(connection)
            if not connections:
                del self._groups[connection.group]
            connection.closed = True
            left, connection.buffer = connection.buffer, deque()
            for task, address in connection.offered.items():
                self._hold(connection.group, task, address)
            others = self._groups.get(connection.group, [])
        for letter in left:
            self.send(*letter)
        if others:
            self._tell_of_room(others[0])

    def take(self, connection: Connection) -> bytes | None:
        """Return the next message for a stream as JSON, or None if there is none at present."""
        with self._lock:
            if not connection.buffer:
                return None
            letter = connection.buffer.popleft()
            task = _task_in(letter.message)
            if task is not None:
                connection.offered.pop(task, None)
                connection.offered[task] = letter.address
                if len(connection.offered) > MAX_HELD:
                    del connection.offered[next(iter(connection.offered))]
            emptied = not connection.buffer
        if emptied:
            self._tell_of_room(connection)
        return msgspec.json.encode(letter.message)

    def send(self, address: str, message: dict[str, Any]) -> bool:
        """Put a message into the buffer of a stream.

        Args:
            address: a poll address.
            message: see docs/protocol.md 2.1.

        Returns:
            Whether a stream receives the message. If not, the message is lost; the id of an offered task is held.

        Raises:
            ValueError: the address is not a poll address.
        """
        poll = poll_of(address)
        if poll is None:
            raise ValueError(f"{address!r} is no address that anybody polls for")
        task = _task_in(message)
        with self._lock:
            connection = self._recipient(poll, task or message["data"]["promise"]["id"])
            if connection is None or connection.full:
                if task is not None:
                    self._hold(poll.group, task, address)
                return False
            if task is not None:
                self._release(poll.group, task)
            connection.buffer.append(Letter(address, message))
            # Under the lock, so that no connection is notified after `close` has returned.
            connection.notify()
        return True

    def workers(self, address: str, subject: str) -> int:
        """Return how many streams a message about the task or promise `subject` could take to a poll address."""
        poll = poll_of(address)
        with self._lock:
            return 0 if poll is None else len(self._candidates(poll, subject))

    def groups(self) -> list[str]:
        """Return the groups that have a stream, sorted."""
        with self._lock:
            return sorted(self._groups)

    def announce(self, group: str, id: str, functions: list[dict[str, Any]], prefix: str) -> bool:
        """Keep the descriptions of a worker's functions while its stream is open. Return False if it has no stream."""
        with self._lock:
            streams = [each for each in self._groups.get(group, ()) if (each.id, each.prefix) == (id, prefix)]
            for connection in streams:
                connection.functions = functions
            return bool(streams)

    def streams(self, prefix: str = "") -> list[Connection]:
        """Return the streams that a bearer of this id prefix may know, by group and id."""
        with self._lock:
            streams = [each for connections in self._groups.values() for each in connections]
        return sorted(
            (each for each in streams if each.prefix.startswith(prefix)), key=lambda each: (each.group, each.id)
        )

    def claim(self, group: str) -> list[str]:
        """Return held tasks of a group that a stream can take now, at most `MAX_BUFFERED`.

        The hub removes them, and the caller has to offer them. A task that then reaches no stream is held again.
        """
        claimed: list[str] = []
        with self._lock:
            for task, address in self._held.get(group, {}).items():
                poll = poll_of(address)
                recipient = self._recipient(poll, task) if poll is not None else None
                if recipient is not None and not recipient.full:
                    claimed.append(task)
                    if len(claimed) == MAX_BUFFERED:
                        break
            for task in claimed:
                self._release(group, task)
        return claimed

    def close(self) -> None:
        """End every stream. A stream that is opened later ends at once."""
        with self._lock:
            self._closed = True
            for connection in [each for connections in self._groups.values() for each in connections]:
                connection.closed = True
                connection.notify()

    def _recipient(self, poll: Poll, subject: str) -> Connection | None:
        """Return the stream for a message about the task or promise `subject`."""
        connections = self._candidates(poll, subject)
        named = next((each for each in connections if each.id == poll.id), None)
        if named is not None or not connections:
            return named
        # Prefer streams that have room in their buffers.
        return self._choose([each for each in connections if not each.full] or connections)

    def _candidates(self, poll: Poll, subject: str) -> list[Connection]:
        """Return the streams that may get a message about `subject`."""
        group = self._groups.get(poll.group, ())
        connections = [each for each in group if not each.closed and subject.startswith(each.prefix)]
        return [each for each in connections if each.id == poll.id] if poll.cast == "uni" else connections

    def _hold(self, group: str, task: str, address: str) -> None:
        held = self._held.setdefault(group, {})
        held.pop(task, None)
        held[task] = address
        if len(held) > MAX_HELD:
            del held[next(iter(held))]

    def _release(self, group: str, task: str) -> None:
        held = self._held.get(group, {})
        held.pop(task, None)
        if not held:
            self._held.pop(group, None)

    def _tell_of_room(self, connection: Connection) -> None:
        if connection.group in self._held and not connection.closed:
            self.on_room(connection.group)


def _task_in(message: dict[str, Any]) -> str | None:
    """Return the id of the task that a message offers, or None."""
    return message["data"]["task"]["id"] if message["kind"] == "execute" else None
