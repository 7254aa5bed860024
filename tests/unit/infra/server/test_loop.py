"""Loop that wakes a store when something is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from resonate_infra.server import loop as loops
from resonate_infra.server.loop import WakeLoop
from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate, PromiseRegisterListener
from resonate_store.model.tags import TARGET
from tests.support.server_api import PATIENCE


class Scene:
    """Store in memory with a loop, and the addresses it sends to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sent: Queue[str] = Queue()
        self.store = MemoryStore(self.clock, lambda address, _message: self.sent.put(address))
        self.paused = False
        self.loop = WakeLoop(self.store, self.clock, lambda: self.paused)

    def timer(self, id: str, after: int) -> None:
        """Create a promise with a listener whose address is its id."""
        self.store.apply(PromiseCreate(id, self.clock.now() + after))
        self.store.apply(PromiseRegisterListener(id, f"poll://uni@g/{id}"))

    def next(self) -> str:
        return self.sent.get(timeout=PATIENCE)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.loop.stop(PATIENCE)


def test_loop_settles_due_promises_only(scene: Scene) -> None:
    scene.timer("soon", 1_000)
    scene.timer("later", 2_000)
    scene.clock.advance(1_000)
    scene.loop.start()
    assert scene.next() == "poll://uni@g/soon"

    scene.clock.advance(1_000)
    scene.loop.nudge()
    assert scene.next() == "poll://uni@g/later"
    assert scene.sent.empty()


def test_loop_wakes_for_a_promise_that_is_due_sooner(scene: Scene) -> None:
    scene.timer("far", 10**9)
    scene.loop.start()
    scene.store.apply(PromiseCreate("due", scene.clock.now() + 10**9, tags={TARGET: "poll://any@g"}))
    assert scene.next() == "poll://any@g"

    scene.timer("near", 5)
    scene.clock.advance(5)
    scene.timer("nearer", 1)
    scene.clock.advance(1)
    scene.loop.nudge()
    assert {scene.next(), scene.next()} == {"poll://uni@g/near", "poll://uni@g/nearer"}


def test_paused_loop_settles_nothing(scene: Scene) -> None:
    scene.paused = True
    scene.timer("held", 1_000)
    scene.clock.advance(2_000)
    scene.loop.start()
    scene.loop.nudge()
    assert scene.store.next_wake_at() is not None
    assert scene.sent.empty()

    scene.paused = False
    scene.loop.nudge()
    assert scene.next() == "poll://uni@g/held"


@pytest.mark.parametrize(("error", "shown"), [(StoreError("busy"), "busy"), (RuntimeError("bug"), "Traceback")])
def test_loop_retries_a_failing_store(
    error: Exception, shown: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loops, "PAUSE_MS", 1)
    done = threading.Event()

    class Failing:
        ticks = 0

        def subscribe(self, *, on_wake: Callable[[int], None] | None = None) -> None: ...

        def next_wake_at(self) -> int:
            return 0

        def tick(self) -> int:
            self.ticks += 1
            if self.ticks < 3:
                raise error
            done.set()
            return 0

    loop = WakeLoop(Failing(), ManualClock(), done.is_set)
    loop.start()
    assert done.wait(PATIENCE)
    loop.stop(PATIENCE)
    assert caplog.text.count("waking what is due failed") == 2
    assert shown in caplog.text


def test_loop_that_was_not_started_can_be_stopped() -> None:
    WakeLoop(MemoryStore(ManualClock()), ManualClock()).stop(PATIENCE)
