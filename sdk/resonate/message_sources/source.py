"""Protocol of the source from which a process of a worker group gets its messages.

An execute message offers a task. An unblock message has a settled promise for a listener. If a message is lost, only
time is lost: the store offers a task again, and a promise can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

Receive = Callable[[dict[str, Any]], None]


@runtime_checkable
class Messages(Protocol):
    """Source of the messages for one process of a group."""

    @property
    def unicast(self) -> str:
        """The address of this process, for listeners."""
        ...

    @property
    def anycast(self) -> str:
        """The address of the group of this process. A message to it is delivered to this process if possible."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a message that is sent now would arrive."""
        ...

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to receive.

        Args:
            receive: called with each message, from any thread. It returns before the work that follows is done.
            changed: called whenever `connected` has changed.
        """
        ...

    def stop(self) -> None:
        """Receive no more messages, until the next `start`."""
        ...
