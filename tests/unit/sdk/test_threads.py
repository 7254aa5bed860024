"""Pools of daemon threads."""

from __future__ import annotations

import re
import threading
from functools import partial
from queue import Queue

import pytest

from resonate.threads import Pool
from tests.support.steps import PATIENCE


def test_pool_limits_the_calls_at_a_time() -> None:
    pool = Pool(2, "test")
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
