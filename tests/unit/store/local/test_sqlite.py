"""The store in SQLite: what outlives the process, whatever becomes of the process, and who may have the file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from resonate_store.interface import StoreClosed, StoreError
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseSearch, Request, ScheduleGet
from resonate_store.protocol.service import Service
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    acquire,
    create,
    create_task,
    execute,
    fence,
    fulfill,
    get,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
)
from tests.support.envelopes import envelope
from tests.support.present import present
from tests.support.substrates import T0

Sent = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "promises.db"


@pytest.fixture
def sent() -> Sent:
    return []


class Disk:
    """What lies between a store and its file: a connection that can be made to fail.

    Attributes:
        db: the connection.
        left: how many statements that write or commit are left, up to the one that fails; below zero none does.
        full: whether nothing can be committed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.left = -1
        self.full = False

    @classmethod
    @contextmanager
    def between(cls) -> Iterator[list[Disk]]:
        """Stand between SQLite and the stores that are opened in the block."""
        made: list[Disk] = []

        def connect(*args: Any, **kwargs: Any) -> Disk:
            made.append(cls(connect_to(*args, **kwargs)))
            return made[-1]

        connect_to = sqlite3.connect
        with patch("sqlite3.connect", connect):
            yield made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        writes = not statement.lstrip().startswith(("SELECT", "ROLLBACK"))
        self.left -= writes
        if (writes and self.left == 0) or (self.full and statement == "COMMIT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.db.execute(statement, *parameters)

    def executemany(self, statement: str, parameters: list[Any]) -> None:
        for some in parameters:
            self.execute(statement, some)


class File:
    """A file, and the process that has it open: `crash` is kill -9 and a new start."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock
        self.sent: Sent = []
        self.disk: Disk
        self.store = self.opened()

    def opened(self) -> SqliteStore:
        with Disk.between() as made:
            store = SqliteStore(self.path, self.clock, lambda *message: self.sent.append(message), synchronous="off")
        (self.disk,) = made
        return store

    def crash(self) -> SqliteStore:
        """Nothing of the process remains but the file: what SQLite had not written is not written any more."""
        left = self._left()
        self.store.close()
        for ending, content in left.items():
            self.path.with_name(self.path.name + ending).write_bytes(content)
        self.sent.clear()
        self.store = self.opened()
        return self.store

    def as_a_crash_leaves_it(self, path: Path) -> list[Record]:
        """What the next process would find if this one were killed now; `path` is where it looks."""
        for ending, content in self._left().items():
            path.with_name(path.name + ending).write_bytes(content)
        store = SqliteStore(path, self.clock, synchronous="off")
        records = store.records()
        store.close()
        return records

    def _left(self) -> dict[str, bytes]:
        """The file and its log, by what their names end with."""
        return {ending: Path(f"{self.path}{ending}").read_bytes() for ending in ("", "-wal")}


@pytest.fixture
def file(path: Path, clock: ManualClock) -> Iterator[File]:
    file = File(path, clock)
    yield file
    file.store.close()


# -- the same as in memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("crashing", [False, True])
def test_a_workflow_runs_to_its_end(file: File, clock: ManualClock, crashing: bool) -> None:
    """Create, acquire, suspend on a timer and a promise, resume, fulfil - with a crash after every request, too."""

    def store() -> SqliteStore:
        return file.crash() if crashing else file.store

    store().apply(create("w", TARGETED))
    store().apply(listen("w"))
    assert present(store().apply(acquire("w", 0)).task).version == 1
    assert store().apply(fence("w", create("w.1", TIMED, at=T0 + HOUR))).ok
    assert store().apply(fence("w", create("w.2"))).ok
    assert store().apply(suspend("w", "w.1", "w.2")).status == 200
    file.sent.clear()
    file.store.apply(settle("w.2"))
    assert file.sent == [execute("w", 1)]
    assert store().apply(acquire("w", 1)).ok
    assert store().apply(suspend("w", "w.1", version=2)).status == 200
    clock.advance(HOUR)
    file.sent.clear()
    store().tick()
    assert execute("w", 2) in file.sent
    assert store().apply(acquire("w", 2)).ok
    assert store().apply(fulfill("w", 3, data="out")).ok
    store().tick()
    if not crashing:
        address, message = file.sent[-1]
        assert (address, message["kind"], message["data"]["promise"]["state"]) == (LISTENER, "unblock", "resolved")
    assert [record.state for record in file.store.records()] == ["resolved"] * 3
    assert all(record.delivered for record in file.store.records() if record.root)
    assert file.store.next_wake_at() is None


def test_time_is_kept_as_in_memory(file: File, clock: ManualClock) -> None:
    told: list[int] = []
    store = file.store
    store.subscribe(on_wake=told.append)
    for id, away in (("c", 3), ("b", 1), ("z", 2), ("a", 2), ("later", 60)):
        store.apply(create(id, OUTSIDE, at=T0 + away * SECOND))
        store.apply(listen(id))
    assert told[:2] == [T0 + 3 * SECOND, T0 + SECOND]
    assert store.next_wake_at() == T0 + SECOND
    clock.advance(3 * SECOND)
    assert store.due(clock.now()) == [("promise", id) for id in ("b", "a", "z", "c")]
    assert store.tick() == 4
    assert [message["data"]["promise"]["id"] for _, message in file.sent] == ["b", "a", "z", "c"]
    assert (store.tick(), store.next_wake_at()) == (0, T0 + MINUTE)


def test_wakeup_is_told_when_it_comes_nearer(file: File) -> None:
    told: list[int] = []
    file.store.subscribe(on_wake=told.append)
    for id, away in (("a", 2), ("b", 3), ("c", 1)):
        file.store.apply(create(id, OUTSIDE, at=T0 + away * HOUR))
    assert told == [T0 + 2 * HOUR, T0 + HOUR]


def test_due_entries_of_both_kinds_are_in_order(file: File) -> None:
    file.store.apply(create("p", OUTSIDE, at=T0 + MINUTE))
    file.store.apply(schedule("s"))
    assert file.store.due(T0 + MINUTE) == [("schedule", "s"), ("promise", "p")]


def test_a_schedule_catches_up_after_a_crash(file: File, clock: ManualClock) -> None:
    file.store.apply(schedule("s", timeout=DAY))
    clock.advance(3 * HOUR)
    store = file.crash()
    assert store.tick() == 2
    first = T0 + 20 * SECOND
    offered = [message["data"]["task"]["id"] for _, message in file.sent]
    assert offered == [f"s.{first + n * MINUTE}" for n in range(180)]
    assert present(file.crash().apply(ScheduleGet("s")).schedule).next_run_at == first + 180 * MINUTE


def test_without_a_file_it_ends_with_the_process(clock: ManualClock) -> None:
    with closing(SqliteStore(":memory:", clock)) as one, closing(SqliteStore(":memory:", clock)) as other:
        one.apply(create("p"))
        assert (one.apply(get("p")).status, other.apply(get("p")).status) == (200, 404)


def test_threads_agree_on_one_winner(file: File) -> None:
    for n in range(20):
        results: list[int] = []
        barrier = threading.Barrier(6)

        def claim(id: str, results: list[int], barrier: threading.Barrier) -> None:
            barrier.wait(timeout=10)
            results.append(file.store.apply(create_task(id)).status)

        threads = [threading.Thread(target=claim, args=(f"w{n}", results, barrier)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert sorted(results) == [200] + [409] * 5


# -- messages -----------------------------------------------------------------------------------------------------


def test_an_offer_is_repeated_when_the_file_is_opened(file: File) -> None:
    """Whoever was offered a task may be gone as well, so it need not wait for the next regular offer."""
    file.store.apply(create("w", TARGETED))
    file.store.apply(create_task("held"))
    file.store.apply(create("later", {**TARGETED, "resonate:delay": str(T0 + HOUR)}))
    before = file.store.records()
    store = file.crash()
    assert (store.next_wake_at(), file.sent) == (0, [])
    store.tick()
    assert file.sent == [execute("w", 0)]
    assert store.records() == before
    assert (store.tick(), file.sent) == (0, [execute("w", 0)])


def test_failed_request_keeps_offers_of_the_process_before(file: File) -> None:
    file.store.apply(create("w", TARGETED))
    file.crash()
    file.disk.full = True
    with pytest.raises(StoreError):
        file.store.apply(create("p"))
    file.disk.full = False
    file.store.tick()
    assert file.sent == [execute("w", 0)]


def test_cleared_store_sends_no_earlier_message(file: File) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("the receiver's network is down")

    for request in (create("p"), listen("p")):
        file.store.apply(request)
    file.store.subscribe(send=fail)
    with pytest.raises(ConnectionError):
        file.store.apply(settle("p"))
    file.crash().clear()
    file.store.tick()
    assert file.sent == []
    file.crash().tick()
    assert file.sent == []


def test_news_that_was_not_sent_is_sent_after_a_crash(file: File) -> None:
    file.store.apply(create("p"))
    file.store.apply(listen("p"))

    def fail(*_: object) -> None:
        raise ConnectionError("the receiver's network is down")

    file.store.subscribe(send=fail)
    with pytest.raises(ConnectionError):
        file.store.apply(settle("p"))
    assert present(file.store.record("p")).state == "resolved"
    file.crash().tick()
    ((address, message),) = file.sent
    assert (address, message["data"]["promise"]["id"]) == (LISTENER, "p")


def test_news_is_forgotten_once_sent(file: File) -> None:
    file.store.apply(create("p"))
    file.store.apply(listen("p"))
    file.store.apply(settle("p"))
    assert len(file.sent) == 1
    file.store.apply(create("another"))
    assert file.crash().next_wake_at() is None
    file.store.apply(create("q"))
    file.store.apply(listen("q"))
    file.store.apply(settle("q"))
    file.store.close()
    file.sent.clear()
    file.store = file.opened()
    assert (file.store.tick(), file.sent) == (0, [])


def test_news_under_the_number_of_earlier_news_is_kept(file: File) -> None:
    """SQLite gives a number again once the table is empty."""
    for request in (create("p"), listen("p"), settle("p"), create("q"), listen("q")):
        file.store.apply(request)

    def fail(*_: object) -> None:
        raise ConnectionError("the receiver's network is down")

    file.store.subscribe(send=fail)
    with pytest.raises(ConnectionError):
        file.store.apply(settle("q"))
    file.store.apply(create("another"))
    file.crash().tick()
    assert [message["data"]["promise"]["id"] for _, message in file.sent] == ["q"]


def test_effects_left_to_a_caller_who_is_gone_are_carried_out(file: File) -> None:
    file.store.apply(create_task("w"))
    file.store.apply(create("a"))
    file.store.apply(suspend("w", "a"))
    file.store.transact(settle("a"))
    store = file.crash()
    assert present(present(store.record("w")).task).state == "pending"
    store.tick()
    assert file.sent == [execute("w", 1)]


# -- all or nothing -----------------------------------------------------------------------------------------------

REQUESTS: list[Request] = [
    create("w", TARGETED),
    acquire("w", 0),
    fence("w", create("w.1", OUTSIDE)),
    create("a", OUTSIDE),
    listen("a"),
    suspend("w", "w.1", "a"),
    settle("a"),
    acquire("w", 1),
    recorded("w.2"),
    suspend("w", "w.1", version=2),
    settle("w.1"),
    schedule("s"),
    acquire("w", 2),
    release("w", 3),
    acquire("w", 3),
    listen("w"),
    fulfill("w", 4),
]


def test_a_failure_at_any_write_leaves_all_or_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """Each request fails at each of its statements, and the process crashes there: nothing of it has happened."""
    reference = File(tmp_path / "reference.db", clock)
    file = File(tmp_path / "promises.db", clock)
    failures = 0
    for request in REQUESTS:
        for n in range(1, 100):
            before, sent = file.store.records(), list(file.sent)
            refusal = failing_at(n, file, request)
            if refusal is None:
                break
            failures += 1
            assert "disk is full" in refusal
            assert (file.store.records(), file.sent) == (before, sent), (request, n)
            assert file.as_a_crash_leaves_it(tmp_path / "crashed.db") == before
        reference.store.apply(request)
        assert file.store.records() == reference.store.records(), request
        assert file.sent == reference.sent, request
    assert failures > 3 * len(REQUESTS)
    file.store.close()
    reference.store.close()


def failing_at(n: int, file: File, request: Request) -> str | None:
    """Apply a request while the n-th statement that writes fails; the error, None if there were not so many."""
    file.disk.left = n
    try:
        file.store.apply(request)
    except StoreError as error:
        return str(error)
    finally:
        file.disk.left = -1
    return None


def test_failed_request_sends_nothing_with_the_next_one(file: File) -> None:
    for request in (create_task("w"), create("a"), listen("a"), suspend("w", "a")):
        assert file.store.apply(request).ok
    n = 1
    while failing_at(n, file, settle("a")) is not None:
        file.store.apply(get("a"))
        assert file.sent == []
        n += 1
    assert n > 3
    assert len(file.sent) == 2


WRITER = """
import sys
from resonate_store.model.records import EMPTY, Value
from resonate_store.model.tags import SCOPE, TARGET
from resonate_store.model.requests import *
from resonate_store.local.sqlite import SqliteStore

store = SqliteStore(sys.argv[1], synchronous="off")
now, start = store.clock.now(), int(sys.argv[2])
at = now + 10**9
for n in range(start, start + 10**6):
    assert store.apply(TaskCreate("p1", 10**6, PromiseCreate(f"w{n}", at, EMPTY, {TARGET: "poll://any@g"}))).ok
    print(f"created w{n}", flush=True)
    store.apply(PromiseRecord(f"w{n}.1", at, now, "resolved", Value(data="x" * 500), EMPTY, {SCOPE: "local"}))
    print(f"recorded w{n}.1", flush=True)
    store.apply(PromiseCreate(f"a{n}", at))
    assert store.apply(TaskSuspend(f"w{n}", 1, (f"a{n}",))).ok
    print(f"suspended w{n}", flush=True)
    store.apply(PromiseSettle(f"a{n}", "resolved"))
    print(f"resumed w{n}", flush=True)
"""


def test_kill_9_takes_back_nothing_that_was_acknowledged(path: Path) -> None:
    """A process writes and says so over a pipe until it is killed, at a random moment; several times over one file."""
    moments = random.Random(7)
    said: list[tuple[str, str]] = []
    start = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(start)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(moments.randrange(1, 400)):
            what, id = process.stdout.readline().split()
            said.append((what, id))
        process.send_signal(signal.SIGKILL)
        said += [(what, id) for what, id in (line.split() for line in process.stdout if line.endswith("\n"))]
        process.wait(timeout=30)
        process.stdout.close()
        start += 10**6
        with SqliteStoreOf(path) as store:
            tasks = {record.id: record.task.state for record in store.records() if record.task is not None}
            settled = {record.id for record in store.records() if not record.pending}
            latest: dict[str, str] = {}
            for what, id in said:
                if what == "recorded":
                    assert id in settled
                else:
                    latest[id] = what
            order = {"acquired": 0, "suspended": 1, "pending": 2}
            least = {"created": 0, "suspended": 1, "resumed": 2}
            assert all(order[tasks[id]] >= least[what] for id, what in latest.items())
            # A settlement and the resumption it brings are one transaction.
            assert all(tasks[f"w{id[1:]}"] == "pending" for id in settled if id.startswith("a"))
    assert len(said) > 500


class SqliteStoreOf:
    """The store in a file, for as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore(path, synchronous="off")

    def __enter__(self) -> SqliteStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


# -- whose file it is ---------------------------------------------------------------------------------------------


def test_the_file_belongs_to_one_process(path: Path, clock: ManualClock) -> None:
    store = SqliteStore(path, clock)
    script = f"from resonate_store.local.sqlite import SqliteStore; SqliteStore({str(path)!r}).close()"
    refused = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"the store in {str(path)!r} is in use by another process" in refused.stderr
    with pytest.raises(StoreError, match="is in use"):
        SqliteStore(path, clock)
    store.apply(create("p"))
    store.close()
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_a_file_of_somebody_else_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (n)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        SqliteStore(path)
    assert (path.read_bytes(), len(list(path.parent.iterdir()))) == (before, 1)


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 1000)
    with pytest.raises(StoreError, match="is no SQLite database"):
        SqliteStore(path)
    assert path.read_text().startswith("dear diary")


def test_refused_file_is_not_kept_open(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (n)")
        with pytest.raises(StoreError, match="something else") as refused:
            SqliteStore(path)
        db.execute("INSERT INTO theirs VALUES (1)")
        db.commit()
    assert refused.value


def test_file_in_use_leaves_no_descriptor_open(file: File) -> None:
    before = os.listdir("/dev/fd")
    with pytest.raises(StoreError, match="is in use"):
        SqliteStore(file.path)
    assert os.listdir("/dev/fd") == before


def test_closed_store_leaves_no_descriptor_open(path: Path) -> None:
    before = os.listdir("/dev/fd")
    SqliteStore(path).close()
    assert os.listdir("/dev/fd") == before


def test_renamed_file_stays_locked_after_it_was_refused(file: File) -> None:
    """POSIX drops a process's locks on a file when it closes any descriptor of it."""
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))
    with pytest.raises(StoreError, match="in use"):
        SqliteStore(renamed)
    script = f"from resonate_store.local.sqlite import SqliteStore; SqliteStore({str(renamed)!r})"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "is in use by another process" in other.stderr


def test_relative_path_holds_after_a_change_of_directory(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore("promises.db", clock)) as store:
        monkeypatch.chdir("/")
        assert store.apply(create("p")).ok


def test_a_schema_of_another_version_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="has the schema 99 and this version of Resonate reads 1"):
        SqliteStore(path)


def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot open .*nowhere"):
        SqliteStore(tmp_path / "nowhere" / "promises.db")


def test_a_store_without_a_file_has_to_be_asked_for() -> None:
    with pytest.raises(ValueError, match=":memory:"):
        SqliteStore("")


@pytest.mark.parametrize("synchronous", ["sometimes", "FULL; DROP TABLE promise"])
def test_synchronous_is_one_of_three(path: Path, synchronous: Any) -> None:
    with pytest.raises(ValueError, match="'full', 'normal' or 'off'"):
        SqliteStore(path, synchronous=synchronous)
    assert not path.exists()


def test_by_default_an_answer_waits_for_the_disk(path: Path) -> None:
    named: list[tuple[dict[str, Any], int]] = [({"synchronous": "off"}, 0), ({"synchronous": "normal"}, 1), ({}, 2)]
    for arguments, shown in named:
        with Disk.between() as disks:
            store = SqliteStore(path, **arguments)
        assert disks[0].execute("PRAGMA synchronous").fetchone() == (shown,)
        assert disks[0].execute("PRAGMA fullfsync").fetchone() == (int(shown == 2),)
        assert disks[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.close()


# -- open and close -----------------------------------------------------------------------------------------------


def test_an_invocation_ends_and_the_file_stays_open(file: File) -> None:
    opened = file.store.open()
    opened.apply(create("w"))
    opened.apply(create("w.1"))
    assert [promise.id for promise in opened.children("w")] == ["w.1"]
    opened.close()
    with pytest.raises(StoreClosed):
        opened.apply(get("w"))
    with pytest.raises(StoreClosed):
        opened.children("w")
    assert file.store.apply(get("w")).ok


def test_a_closed_store_says_so(path: Path, clock: ManualClock) -> None:
    store = SqliteStore(path, clock)
    store.apply(create("p"))
    store.close()
    store.close()
    for call in (lambda: store.apply(get("p")), store.tick, store.records, lambda: store.children("p")):
        with pytest.raises(StoreClosed, match="is closed"):
            call()
    with SqliteStoreOf(path) as again:
        assert again.apply(get("p")).ok


def test_closed_store_refuses_every_thread(file: File) -> None:
    file.store.close()
    refused: list[StoreError] = []

    def read() -> None:
        try:
            file.store.records()
        except StoreClosed as error:
            refused.append(error)

    read()
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert len(refused) == 2


def test_anything_that_is_stored_comes_back(file: File) -> None:
    """Tags, values and ids of any text; every field of a record."""
    odd = "é/ #\U0010ffff'\""
    for request in (*REQUESTS, create(odd, {odd: odd, "self": ""})):
        assert file.store.apply(request).status in (200, 300)
    before = file.store.records()
    assert file.crash().records() == before
    assert present(file.store.apply(PromiseSearch(tags={odd: odd})).promises)[0].id == odd


def test_a_ttl_is_a_number_that_can_be_stored(file: File) -> None:
    assert file.store.apply(create_task("w", ttl=10**30)).status == 400
    assert file.store.apply(create_task("w", ttl=2**53)).ok


def test_everything_is_forgotten_on_request(file: File) -> None:
    requests: list[Request] = [create("w", TARGETED), schedule("s"), create("p", OUTSIDE), listen("p"), settle("p")]
    for request in requests:
        assert file.store.apply(request).ok
    file.store.clear()
    assert file.store.records() == []
    assert file.store.apply(ScheduleGet("s")).status == 404
    assert file.store.next_wake_at() is None

    file.crash()
    assert file.store.records() == []
    assert file.store.next_wake_at() is None


def test_new_file_and_its_log_are_readable_by_their_owner_only(file: File) -> None:
    file.store.apply(create("p"))

    assert {path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()} == {0o600}


def test_file_that_was_renamed_is_not_served_twice(file: File) -> None:
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))

    for path in (file.path, renamed):
        with pytest.raises(StoreError, match="in use by another process"):
            SqliteStore(path)
    assert file.store.apply(get("p")).status == 200


def test_store_whose_file_was_renamed_refuses_writes(file: File) -> None:
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))

    for write in (lambda: file.store.apply(create("q")), file.store.ready, file.store.clear):
        with pytest.raises(StoreError, match=r"promises.db' was moved.*: stop this process"):
            write()
    assert file.store.apply(get("p")).status == 200
    renamed.rename(file.path)
    assert file.store.apply(create("q")).status == 200


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_store_whose_file_is_gone_is_not_ready(file: File, change: str) -> None:
    file.path.unlink()
    if change == "replace":
        file.path.write_bytes(b"")

    with pytest.raises(StoreError, match="moved, deleted or replaced"):
        file.store.ready()


@pytest.mark.parametrize("noticed", [True, False])
def test_renamed_file_holds_every_acknowledged_write_after_close(file: File, noticed: bool) -> None:
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))
    if noticed:
        with pytest.raises(StoreError):
            file.store.ready()
    file.store.close()

    with closing(SqliteStore(renamed)) as store:
        assert [record.id for record in store.records()] == ["p"]


def test_renamed_file_is_whole_once_a_write_is_refused(file: File) -> None:
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))
    with pytest.raises(StoreError):
        file.store.ready()

    assert Path(f"{file.path}-wal").stat().st_size == 0
    copy = renamed.with_name("copy.db")
    copy.write_bytes(renamed.read_bytes())
    with closing(SqliteStore(copy)) as store:
        assert [record.id for record in store.records()] == ["p"]


def test_store_on_a_full_disk_is_not_ready(file: File) -> None:
    assert file.store.ready()
    file.disk.full = True
    with pytest.raises(StoreError, match="disk is full"):
        file.store.ready()
    file.disk.full = False


def damage(file: File, id: str) -> None:
    file.disk.execute("UPDATE promise SET record = ? WHERE id = ?", (b"\x91\x01", id))


def test_damaged_record_is_named_and_stops_nothing_else(file: File, clock: ManualClock) -> None:
    for id in ("bad", "good"):
        file.store.apply(create(id, OUTSIDE, at=T0 + SECOND))
    damage(file, "bad")
    status, answer = Service(file.store).answer(envelope("promise.get", {"id": "bad"}))
    assert (status, b"record of the promise 'bad' is damaged" in answer) == (503, True)

    clock.advance(SECOND)
    file.store.tick()
    assert present(file.store.record("good")).state == "rejected_timedout"
    assert file.crash().apply(get("good")).status == 200


def test_damaged_record_does_not_keep_back_later_offers(file: File) -> None:
    file.store.apply(create("bad", OUTSIDE, at=T0 + SECOND))
    file.store.apply(create("w", TARGETED))
    damage(file, "bad")
    file.crash().tick()
    assert file.sent == [execute("w", 0)]
