"""Calls of the store in SQLite that are stored together, or that do not wait for another thread."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest

from resonate_store.interface import StoreClosed
from resonate_store.model.clock import ManualClock
from tests.support.build import TARGETED, create, create_task, get, listen, recorded, settle
from tests.support.serving import PATIENCE
from tests.support.sqlite import File

REQUESTS = [create("a", TARGETED), create_task("w"), recorded("w.1"), listen("a"), settle("a"), get("w")]


def test_calls_together_are_stored_and_sent_like_single_calls(tmp_path: Path, clock: ManualClock) -> None:
    single, several = File(tmp_path / "single.db", clock), File(tmp_path / "several.db", clock)
    commits = several.disk.commits
    expected = [single.store.apply(request) for request in REQUESTS]

    assert several.store.together([partial(several.store.apply, request) for request in REQUESTS]) == expected
    assert several.store.records() == single.store.records()
    assert several.sent == single.sent
    assert len(several.sent) == 2
    assert several.disk.commits == commits + 1
    assert several.crash().records() == single.store.records()


def test_message_is_sent_when_everything_is_stored(file: File) -> None:
    def sent_so_far() -> int:
        return len(file.sent)

    calls = [partial(file.store.apply, create("a", TARGETED)), sent_so_far, sent_so_far]
    assert file.store.together(calls)[1:] == [0, 0]
    assert len(file.sent) == 1


def test_calls_together_of_which_one_fails_are_repeated_alone(tmp_path: Path, clock: ManualClock) -> None:
    """The disk fails once, at each statement in turn: every request is stored once, and each message is sent once."""
    reference = File(tmp_path / "reference.db", clock)
    expected = [reference.store.apply(request) for request in REQUESTS]
    for n in range(1, 100):
        file = File(tmp_path / f"promises-{n}.db", clock)
        file.disk.left = n
        answers = file.store.together([partial(file.store.apply, request) for request in REQUESTS])
        failed, file.disk.left = file.disk.left <= 0, -1

        assert answers == expected, n
        assert file.store.records() == reference.store.records(), n
        assert file.sent == reference.sent, n
        file.store.close()
        if not failed:
            break
    assert 5 < n < 99


def test_calls_together_of_a_closed_store_are_refused(file: File) -> None:
    file.store.close()
    with pytest.raises(StoreClosed):
        file.store.together([partial(file.store.apply, get("a"))] * 2)
    file.store = file.opened()


def test_call_at_once_does_not_wait_for_another_thread(file: File) -> None:
    begun, end = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return end.wait(PATIENCE)

    thread = threading.Thread(target=file.store.at_once, args=(hold,))
    thread.start()
    assert begun.wait(PATIENCE)
    assert file.store.at_once(partial(file.store.apply, create("a"))) is None
    end.set()
    thread.join(PATIENCE)
    answer = file.store.at_once(partial(file.store.apply, create("a")))
    assert answer is not None
    assert answer.ok
