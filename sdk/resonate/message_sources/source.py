"""What brings messages to a process of a worker group.

An execute message offers a task, an unblock message brings a promise that a listener waits for. Both
may get lost, and nothing rests on them but speed: a task is offered again, a promise can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

Receive = Callable[[dict[str, Any]], None]


@runtime_checkable
class Messages(Protocol):
    """Brings the messages for one process of a group."""

    @property
    def unicast(self) -> str:
        """The address of this process, for listeners."""
        ...

    @property
    def anycast(self) -> str:
        """The address of its group, this process preferred."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a message sent now would arrive."""
        ...

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to receive.

        Args:
            receive: called with each message, from any thread; does not wait for the work that it leads to.
            changed: called whenever `connected` has changed.
        """
        ...

    def stop(self) -> None:
        """Receive nothing any more; `start` begins anew."""
        ...
