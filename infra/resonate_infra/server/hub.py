"""The streams that workers poll, and who of them is sent what (docs/protocol.md 2.3).

`poll://uni@group/id` goes to the first connection that has this id. `poll://any@group/id` prefers it, and otherwise
goes, like `poll://any@group`, to any connection of the group. A message that finds nobody, or whose connection is so
far behind that its buffer is full, is lost, as the protocol has it. For a task that would mean to wait for the next
offer, which may be minutes away. So the hub remembers which tasks found nobody, and says when somebody is there for
them: a worker that is started again drains what has waited for it. What then is offered is up to the store. When a
stream ends, that includes what was written to it: the worker may not have got to all of it.

Where tokens are asked for, a stream is opened with the prefix of its bearer's ids, and the messages about other ids
pass it by as if it were not there: a group's name is no secret, and messages hold values.

Messages come from any thread, connections live on the event loop; `notify` is how one wakes the other.
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
"""Streams at the same time."""
MAX_BUFFERED = 100
"""Messages that wait to be written to one stream."""
MAX_HELD = 10_000
"""Tasks of one group remembered because they found nobody; older ones are left to their next offer."""


class TooManyConnections(Exception):
    """The server has as many streams as it takes."""


class Letter(NamedTuple):
    """A message on its way, and where it was to go."""

    address: str
    message: dict[str, Any]


class Connection:
    """One stream: a worker process of a group."""

    def __init__(self, group: str, id: str, notify: Callable[[], object], prefix: str) -> None:
        self.group = group
        self.id = id
        self.prefix = prefix
        self.notify = notify
        self.closed = False
        self.buffer: deque[Letter] = deque()
        self.offered: dict[str, str] = {}
        """The tasks that were written to the stream, the latest last, with the addresses that they were for."""

    @property
    def full(self) -> bool:
        return len(self.buffer) >= MAX_BUFFERED


class Hub:
    """All streams of a server.

    Args:
        choose: picks one of several connections; at random if not given.
        limit: streams at the same time.
    """

    def __init__(
        self, choose: Callable[[Sequence[Connection]], Connection] | None = None, limit: int = MAX_CONNECTIONS
    ) -> None:
        self.on_room: Callable[[str], None] = lambda _group: None
        """Told a group for which tasks are held and that has somebody to take them."""
        self._choose = choose or random.Random().choice
        self._limit = limit
        self._lock = threading.RLock()
        self._groups: dict[str, list[Connection]] = {}
        self._held: dict[str, dict[str, str]] = {}
        self._closed = False

    def connect(self, group: str, id: str, notify: Callable[[], object], prefix: str = "") -> Connection:
        """Open a stream for the process `id` of a group; several may have the same id.

        Args:
            group, id: as in `poll://any@group/id`.
            notify: called, from any thread, when there is something to take, or the connection is closed.
            prefix: of the tasks and promises that it may hear of.

        Raises:
            TooManyConnections: there are as many as there may be.
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
        """Forget a stream; what was not taken from it, or is still on offer, goes to another."""
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
        """The next message for a stream, as JSON, or None when there is none at present."""
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
        """Hand a message to a stream.

        Args:
            address: a poll address.
            message: see docs/protocol.md 2.1.

        Returns:
            Whether anybody will get it. If not, it is lost, or held if it offers a task.
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
            # Under the lock, so that a connection is not told anything after `close` has returned.
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

    def claim(self, group: str) -> list[str]:
        """Held tasks of a group that somebody is there for now, no more than fit into a buffer.

        They are held no longer: it is the caller's turn to offer them, and what then finds nobody is held again.
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
        """End every stream, now and later."""
        with self._lock:
            self._closed = True
            for connection in [each for connections in self._groups.values() for each in connections]:
                connection.closed = True
                connection.notify()

    def _recipient(self, poll: Poll, subject: str) -> Connection | None:
        """Who gets a message about the task or promise `subject`."""
        connections = self._candidates(poll, subject)
        named = next((each for each in connections if each.id == poll.id), None)
        if named is not None or not connections:
            return named
        # Nobody is passed over only because somebody else is behind.
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
    """The task that a message offers."""
    return message["data"]["task"]["id"] if message["kind"] == "execute" else None
