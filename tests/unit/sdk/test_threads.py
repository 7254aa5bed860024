"""Pools of daemon threads."""

from __future__ import annotations

import re
import threading
from functools import partial
from queue import Queue

import pytest

from resonate.threads import Pool
from tests.support.steps import PATIENCE


@pytest.mark.parametrize("patience_s", [None, 0.001])
def test_pool_limits_the_calls_at_a_time(patience_s: float | None) -> None:
    pool = Pool(2, "test", patience_s=patience_s)
    began: Queue[tuple[int, str]] = Queue()
    gate = threading.Event()

    def call(n: int) -> None:
        began.put((n, threading.current_thread().name))
        gate.wait(PATIENCE)

    for n in range(3):
        pool.submit_latest(n, lambda n=n: call(n))
    numbers, names = zip(*(began.get(timeout=PATIENCE) for _ in range(2)), strict=True)
    assert (set(numbers), set(names)) == ({0, 1}, {"test-1", "test-2"})
    assert began.empty()
    gate.set()
    assert began.get(timeout=PATIENCE)[0] == 2
    assert pool.close(PATIENCE)


def test_pool_replaces_a_waiting_call_of_the_same_key() -> None:
    pool = Pool(1, "test")
    made: Queue[str] = Queue()
    began, gate = threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        gate.wait(PATIENCE)

    pool.submit_latest("a", first)
    assert began.wait(PATIENCE)
    pool.submit_latest("a", lambda: made.put("second"))
    pool.submit_latest("b", lambda: made.put("other"))
    pool.submit_latest("a", lambda: made.put("third"))
    gate.set()

    assert [made.get(timeout=PATIENCE) for _ in range(2)] == ["third", "other"]
    assert pool.close(PATIENCE)
    assert made.empty()


def test_pool_uses_its_daemon_threads_again() -> None:
    pool = Pool(2, "test")
    threads: Queue[threading.Thread] = Queue()
    seen = set[threading.Thread]()
    for n in range(20):
        pool.submit_latest(n, lambda: threads.put(threading.current_thread()))
        seen.add(threads.get(timeout=PATIENCE))
    assert {thread.name for thread in seen} <= {"test-1", "test-2"}
    assert all(thread.daemon for thread in seen)
    assert pool.close(PATIENCE)


def test_pool_logs_a_failed_call_and_makes_the_next(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(1, "test")
    made = threading.Event()

    def fail(error: BaseException) -> None:
        raise error

    for kind in (RuntimeError, SystemExit, KeyboardInterrupt):
        pool.submit_latest(kind, partial(fail, kind(f"broken by {kind.__name__}")))
    pool.submit_latest("last", made.set)
    assert made.wait(PATIENCE)
    assert re.findall(r"(\w+): broken by \1", caplog.text) == ["RuntimeError", "SystemExit", "KeyboardInterrupt"]
    assert pool.close(PATIENCE)


def test_pool_close_waits_for_running_calls_only() -> None:
    pool = Pool(1, "test")
    began, gate, later = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        gate.wait(PATIENCE)

    pool.submit_latest(1, call)
    assert began.wait(PATIENCE)
    pool.submit_latest(2, later.set)
    assert not pool.close(0)
    pool.submit_latest(3, later.set)
    gate.set()
    assert pool.close(PATIENCE)
    assert not later.is_set()


def test_patient_pool_makes_waiting_calls_in_one_thread_in_order() -> None:
    pool = Pool(4, "test", patience_s=PATIENCE)
    made: list[tuple[int, str]] = []
    gate = threading.Event()
    futures = [pool.submit(gate.wait, PATIENCE)]
    futures += [pool.submit(lambda n=n: made.append((n, threading.current_thread().name))) for n in range(50)]
    gate.set()
    for future in futures:
        future.result(PATIENCE)

    assert made == [(n, "test-1") for n in range(50)]
    assert pool.close(PATIENCE)
    assert pool.threads() == []


def test_patient_pool_makes_calls_beside_those_that_block() -> None:
    """Twice, so that the threads and the watcher of the pool have rested in between."""
    pool = Pool(5, "test", patience_s=0.001)
    for _ in range(2):
        meeting = threading.Barrier(5)
        futures = [pool.submit(meeting.wait, PATIENCE) for _ in range(5)]
        assert {future.result(PATIENCE) for future in futures} == set(range(5))
    assert pool.close(PATIENCE)


def test_patient_pool_makes_a_call_beside_one_that_computes() -> None:
    pool = Pool(2, "test", patience_s=0.001)
    ended = threading.Event()

    def compute() -> int:
        rounds = 0
        while not ended.is_set():
            rounds += 1
        return rounds

    computed, made = pool.submit(compute), pool.submit(ended.is_set)
    try:
        assert made.result(PATIENCE) is False
    finally:
        ended.set()
    assert computed.result(PATIENCE) > 0
    assert pool.close(PATIENCE)


@pytest.mark.parametrize("patience_s", [None, 0.001])
def test_pool_replaces_a_thread_that_is_left_behind(patience_s: float | None) -> None:
    pool = Pool(1, "test", patience_s=patience_s)
    began: Queue[threading.Thread] = Queue()
    gate = threading.Event()

    def call() -> bool:
        began.put(threading.current_thread())
        return gate.wait(PATIENCE)

    stuck, later = pool.submit(call), pool.submit(threading.current_thread)
    thread = began.get(timeout=PATIENCE)
    pool.leave(thread)
    assert later.result(PATIENCE).name == "test-2"
    gate.set()
    assert stuck.result(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert pool.close(PATIENCE)


@pytest.mark.parametrize("patience_s", [None, PATIENCE])
def test_pool_that_is_shut_down_cancels_calls_that_wait(patience_s: float | None) -> None:
    pool = Pool(1, "test", patience_s=patience_s)
    began, gate = threading.Event(), threading.Event()
    made: list[str] = []
    pool.submit(lambda: (began.set(), gate.wait(PATIENCE)))
    assert began.wait(PATIENCE)
    pool.enqueue(lambda: made.append("called"), lambda: made.append("cancelled"))
    future = pool.submit(made.append, "called")
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()

    assert pool.close(PATIENCE)
    assert made == ["cancelled"]
    assert future.cancelled()
    with pytest.raises(RuntimeError, match="test is shut down"):
        pool.enqueue(began.set, began.set)


@pytest.mark.parametrize("patience_s", [None, PATIENCE])
def test_pool_that_is_shut_down_makes_calls_that_wait(patience_s: float | None) -> None:
    pool = Pool(2, "test", patience_s=patience_s)
    gate = threading.Event()
    futures = [pool.submit(gate.wait, PATIENCE) for _ in range(5)]
    pool.shutdown(wait=False)
    gate.set()

    assert all(future.result(PATIENCE) for future in futures)
    assert pool.close(PATIENCE)


def test_pool_passes_errors_to_futures_and_makes_the_next_call() -> None:
    pool = Pool(1, "test")

    def fail(error: BaseException) -> None:
        raise error

    pool.enqueue(partial(fail, SystemExit()), lambda: None)
    failed = [pool.submit(fail, kind()) for kind in (RuntimeError, SystemExit)]
    assert [type(future.exception(PATIENCE)) for future in failed] == [RuntimeError, SystemExit]
    assert pool.submit(threading.current_thread).result(PATIENCE).name == "test-1"
    assert pool.close(PATIENCE)
