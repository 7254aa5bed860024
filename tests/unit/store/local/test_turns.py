"""Turns of threads at a lock."""

from __future__ import annotations

import threading

from resonate_store.local.turns import Turns

PATIENCE = 10.0


def test_turns_are_entered_again_by_the_thread_inside() -> None:
    turns, lock = Turns(), threading.RLock()
    with turns, lock, turns, lock:
        pass
    with turns, lock:
        pass


def test_turns_pass_a_thread_that_never_leaves() -> None:
    turns, entered = Turns(), threading.Event()
    interrupted = threading.Thread(target=turns.__enter__)
    interrupted.start()
    interrupted.join(PATIENCE)

    def enter() -> None:
        with turns:
            entered.set()

    threading.Thread(target=enter).start()
    assert entered.wait(PATIENCE)


def test_turns_keep_the_order_of_the_lock() -> None:
    """The second thread waits for the lock, because it does not pause as long as the first one is inside."""
    turns, lock = Turns(), threading.Lock()
    order: list[str] = []
    arrived, gate = threading.Event(), threading.Event()

    def enter(name: str) -> None:
        arrived.set()
        with turns, lock:
            order.append(name)
            gate.wait(PATIENCE)

    with turns, lock:
        second = threading.Thread(target=enter, args=("second",))
        second.start()
        assert arrived.wait(PATIENCE)
        order.append("first")
    gate.set()
    second.join(PATIENCE)
    assert order == ["first", "second"]


def test_turns_of_many_threads_keep_the_lock_exclusive() -> None:
    turns, lock = Turns(), threading.Lock()
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for n in range(200):
            with turns, lock:
                inside.append(n)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert most == [1] * 1200
