"""Requests of many threads at once, over the store in memory: records, messages and ticks.

`tests/spec/test_races.py` checks answers.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import Request, Response
from tests.support.build import (
    DAY,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    acquire,
    create,
    create_task,
    execute,
    heartbeat,
    recorded,
    release,
    schedule,
    settle,
    suspend,
)
from tests.support.present import present
from tests.support.sqlite import Sent
from tests.support.substrates import T0

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("eager_switching")

THREADS = 8
ROUNDS = 40


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns far more often than usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(*actions: Callable[[], T]) -> list[T]:
    """Run the actions at the same moment, each in its own thread; their results in the same order."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        barrier.wait(timeout=10)
        return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(run, actions, timeout=30))


def by_all(memory: MemoryStore, request_of: Callable[[int], Request]) -> list[Response]:
    """Apply one request per thread at the same moment."""
    return together(*(partial(memory.apply, request_of(n)) for n in range(THREADS)))


def test_threads_that_record_one_step_adopt_one_outcome(memory: MemoryStore) -> None:
    for r in range(ROUNDS):
        responses = by_all(memory, lambda n, r=r: recorded(f"p.{r}", data=str(n)))
        assert all(response.promise == present(memory.record(f"p.{r}")).promise() for response in responses)


def test_threads_that_acquire_one_task_have_one_winner_per_version(memory: MemoryStore) -> None:
    memory.apply(create("w", TARGETED))
    for r in range(ROUNDS):
        responses = by_all(memory, lambda n, r=r: acquire("w", r, pid=f"p{n}"))
        (winner,) = [n for n, response in enumerate(responses) if response.ok]
        task = present(present(memory.record("w")).task)
        assert (task.version, task.pid) == (r + 1, f"p{winner}")
        assert {response.status for response in responses} == {200, 409}
        released = by_all(memory, lambda _, r=r: release("w", r + 1, handover=True))
        assert sorted(response.status for response in released) == [200] + [409] * (THREADS - 1)


def test_threads_that_settle_awaited_promises_resume_once(memory: MemoryStore, sent: Sent) -> None:
    for r in range(ROUNDS):
        awaited = [f"a{r}.{n}" for n in range(THREADS)]
        memory.apply(create_task(f"w{r}"))
        for id in awaited:
            memory.apply(create(id, OUTSIDE))
        memory.apply(suspend(f"w{r}", *awaited))
        sent.clear()
        by_all(memory, lambda n, awaited=awaited: settle(awaited[n]))
        assert sent == [execute(f"w{r}", 1)]
        [first] = present(present(memory.record(f"w{r}")).task).resumes
        assert first in awaited


def test_threads_that_suspend_on_a_settling_promise_are_resumed(memory: MemoryStore, sent: Sent) -> None:
    for r in range(ROUNDS):
        tasks = [f"w{r}.{n}" for n in range(THREADS - 1)]
        memory.apply(create(f"a{r}", OUTSIDE))
        for id in tasks:
            memory.apply(create_task(id))
        sent.clear()
        requests = [*(suspend(id, f"a{r}") for id in tasks), settle(f"a{r}")]
        responses = together(*(lambda request=request: memory.apply(request) for request in requests))
        resumed = [id for id, response in zip(tasks, responses, strict=False) if response.status == 200]
        assert sorted(message["data"]["task"]["id"] for _, message in sent) == resumed
        assert [id for id in tasks if present(present(memory.record(id)).task).state == "pending"] == resumed
        assert present(memory.record(f"a{r}")).callbacks == {}


def test_threads_that_tick_wake_each_entry_once(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    for n in range(50):
        memory.apply(create(f"w{n}", TARGETED))
        memory.apply(create(f"t{n}", TIMED, at=T0 + 30 * SECOND))
    memory.apply(schedule("s", timeout=DAY))
    sent.clear()
    clock.advance(30 * SECOND)
    woken = together(*[memory.tick] * THREADS)
    assert sum(woken) == 101
    offers = sorted(message["data"]["task"]["id"] for _, message in sent)
    assert offers == sorted([*(f"w{n}" for n in range(50)), f"s.{T0 + 20 * SECOND}"])


def test_threads_of_heartbeat_and_expiry_leave_one_holder(memory: MemoryStore, clock: ManualClock) -> None:
    """Whichever comes first: the lease is extended, or the task is free and the heartbeat of the old holder ignored."""
    for r in range(ROUNDS):
        memory.apply(create_task(f"w{r}", ttl=SECOND))
        clock.advance(SECOND)
        together(lambda r=r: memory.apply(heartbeat((f"w{r}", 1))), memory.tick)
        task = present(present(memory.record(f"w{r}")).task)
        expected = {"acquired": clock.now() + SECOND, "pending": None}
        assert task.expires_at == expected[task.state]
        memory.apply(settle(f"w{r}"))
