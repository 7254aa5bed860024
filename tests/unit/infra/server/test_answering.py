"""Which thread answers a request, and what is stored together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resonate_infra.server.answering import MOST_TOGETHER, QUICK_MS, InThreads, OnTheLoop, Together
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import VERSION
from tests.support.server_api import PATIENCE
from tests.support.sqlite import File

LATER = ManualClock().now() + 60_000


def body(kind: str, **data: Any) -> bytes:
    return msgspec.json.encode({"kind": kind, "head": {"corrId": "1", "version": VERSION}, "data": data})


def creation(id: str) -> bytes:
    return body("promise.create", id=id, timeoutAt=LATER)


SEARCH = body("promise.search")


class Answers:
    """The answers of a service, with the thread that gave each."""

    def __init__(self, store: SqliteStore) -> None:
        self.threads: list[str] = []
        self.before: Callable[[], object] = lambda: None
        self._service = Service(store)

    def __call__(self, request: bytes) -> tuple[int, bytes]:
        self.threads.append(threading.current_thread().name)
        self.before()
        return self._service.answer(request)


async def given(answer: tuple[int, bytes] | Awaitable[tuple[int, bytes]]) -> int:
    return (answer if isinstance(answer, tuple) else await asyncio.wait_for(answer, PATIENCE))[0]


@pytest.fixture
def memory() -> SqliteStore:
    return SqliteStore(":memory:", ManualClock())


@pytest.fixture
def file(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "promises.sqlite", ManualClock(), synchronous="off")


def test_bounded_request_in_memory_is_answered_on_the_loop(memory: SqliteStore) -> None:
    answers = Answers(memory)

    async def ask() -> list[int]:
        answering = OnTheLoop(answers, memory)
        return [await given(answering.begin(request)) for request in (creation("a"), SEARCH, b"{")]

    assert asyncio.run(ask()) == [200, 200, 400]
    here = threading.current_thread().name
    assert [name == here for name in answers.threads] == [True, False, False]


def test_request_beside_a_slow_one_does_not_stop_the_loop(memory: SqliteStore) -> None:
    """A search holds the store, so the creation gets a thread, and the loop does other things meanwhile."""
    answers = Answers(memory)
    searching, continued = threading.Event(), threading.Event()

    def search() -> bool | None:
        searching.set()
        return continued.wait(PATIENCE)

    async def ask() -> int:
        answering = OnTheLoop(answers, memory)
        answer = answering.begin(creation("a"))
        assert not isinstance(answer, tuple)
        waiting = asyncio.ensure_future(given(answer))
        await asyncio.sleep(0)
        assert not waiting.done()
        continued.set()
        return await waiting

    thread = threading.Thread(target=memory.at_once, args=(search,))
    thread.start()
    assert searching.wait(PATIENCE)
    assert asyncio.run(ask()) == 200
    thread.join(PATIENCE)
    assert answers.threads != [threading.current_thread().name]


def test_requests_without_a_store_get_threads(memory: SqliteStore) -> None:
    answers = Answers(memory)

    async def ask() -> int:
        return await given(InThreads(answers).begin(creation("a")))

    assert asyncio.run(ask()) == 200
    assert answers.threads != [threading.current_thread().name]


def together(answers: Answers, store: SqliteStore, *requests: bytes) -> list[int]:
    """Return the statuses of requests that arrive at the same time."""

    async def ask() -> list[int]:
        answering = Together(answers, store, store.clock)
        statuses = await asyncio.gather(*(given(answering.begin(request)) for request in requests))
        answering.close()
        return list(statuses)

    return asyncio.run(ask())


def test_requests_that_arrive_together_are_one_transaction(tmp_path: Path) -> None:
    file = File(tmp_path / "promises.sqlite", ManualClock())
    answers, before = Answers(file.store), file.disk.commits

    assert together(answers, file.store, *(creation(f"p{n}") for n in range(20))) == [200] * 20
    assert file.disk.commits == before + 1
    assert set(answers.threads) == {threading.current_thread().name}
    assert together(answers, file.store, *(creation(f"q{n}") for n in range(MOST_TOGETHER + 1))) == [200] * (
        MOST_TOGETHER + 1
    )
    assert file.disk.commits == before + 3
    assert len(file.store.records()) == 20 + MOST_TOGETHER + 1


def test_requests_of_a_full_disk_are_all_refused(tmp_path: Path) -> None:
    file = File(tmp_path / "promises.sqlite", ManualClock())
    file.disk.full = True
    assert together(Answers(file.store), file.store, creation("a"), creation("b")) == [503, 503]
    file.disk.full = False
    assert file.store.records() == []
    assert together(Answers(file.store), file.store, creation("a"), creation("b")) == [200, 200]


def test_unbounded_request_of_a_file_gets_a_thread(file: SqliteStore) -> None:
    answers = Answers(file)

    assert together(answers, file, SEARCH) == [200]
    assert answers.threads != [threading.current_thread().name]


def test_slow_disk_is_left_to_the_writer(file: SqliteStore) -> None:
    """The first slow write is on the loop. The writer makes the next ones, until the disk is quick again."""
    answers = Answers(file)
    clock = file.clock
    slow = True
    answers.before = lambda: clock.sleep(QUICK_MS + 1 if slow else 1)

    async def ask() -> None:
        nonlocal slow
        answering = Together(answers, file, clock)
        for n in range(5):
            slow = n < 2
            assert await given(answering.begin(creation(f"p{n}"))) == 200
        answering.close()

    asyncio.run(ask())
    here = threading.current_thread().name
    assert [name == here for name in answers.threads] == [True, False, False, True, True]


def test_request_that_fails_leaves_those_beside_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "promises.sqlite"
    file = SqliteStore(path, ManualClock(), synchronous="off")
    assert together(Answers(file), file, creation("damaged")) == [200]
    file.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE promise SET record = x'00' WHERE id = 'damaged'")
    file = SqliteStore(path, ManualClock(), synchronous="off")

    statuses = together(Answers(file), file, creation("a"), body("promise.get", id="damaged"), creation("b"))

    assert statuses == [200, 503, 200]
    assert [file.record(id) is not None for id in ("a", "b")] == [True, True]


def test_client_that_is_gone_does_not_stop_other_answers(file: SqliteStore) -> None:
    answers = Answers(file)

    async def ask() -> int:
        answering = Together(answers, file, file.clock)
        gone = answering.begin(creation("a"))
        assert isinstance(gone, asyncio.Future)
        kept = answering.begin(creation("b"))
        gone.cancel()
        return await given(kept)

    assert asyncio.run(ask()) == 200
    assert file.record("a") is not None
