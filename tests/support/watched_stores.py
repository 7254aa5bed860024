"""Stores in memory whose requests a test waits for, and the threads of processes that use them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from resonate import Resonate
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Request, Response
from tests.support.steps import PATIENCE

Connect = Callable[..., Resonate]


def threads() -> set[threading.Thread]:
    """Return the threads that belong to the SDK; other tests may have left some."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("resonate")}


def stop(resonate: Resonate) -> None:
    """Stop a client, and fail if that does not return."""
    stopping = threading.Thread(target=resonate.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()


class Seen:
    """Mixed into a store: tests wait for requests that it has answered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[Request] = []
        self._news = threading.Condition()

    def apply(self, request: Request) -> Response:
        response: Response = super().apply(request)  # type: ignore[misc]
        with self._news:
            self.seen.append(request)
            self._news.notify_all()
        return response

    def wait_for(self, kind: type, count: int = 1) -> None:
        """Return once `count` requests of the kind have been answered."""
        with self._news:
            assert self._news.wait_for(lambda: self.count(kind) >= count, PATIENCE), f"no {kind.__name__} came"

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.seen)


class Memory(Seen, MemoryStore):
    def move(self, clock: ManualClock, seconds: float) -> None:
        """Move the clock, and make the timer thread look at it."""
        clock.advance(round(seconds * 1000))
        assert self.on_wake is not None
        self.on_wake(0)


class _Elsewhere:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self.store.children(id, separator)

    def open(self) -> _Elsewhere:
        return self

    def close(self) -> None: ...


class Elsewhere(Seen, _Elsewhere):
    """A store of a user's class, which the runtime treats as one outside of this process."""
