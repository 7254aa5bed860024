"""The store in SQLite: what outlives its process, and its messages."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from resonate_store.interface import StoreClosed, StoreError
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseSearch, Request
from resonate_store.model.schedule_requests import ScheduleGet
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
from tests.support.sqlite import File
from tests.support.substrates import T0


def test_workflow_with_a_crash_after_each_request_completes(file: File, clock: ManualClock) -> None:
    file.store.apply(create("w", TARGETED))
    file.crash().apply(listen("w"))
    assert present(file.crash().apply(acquire("w", 0)).task).version == 1
    assert file.crash().apply(fence("w", create("w.1", TIMED, at=T0 + HOUR))).ok
    assert file.crash().apply(fence("w", create("w.2"))).ok
    assert file.crash().apply(suspend("w", "w.1", "w.2")).status == 200
    file.sent.clear()
    file.store.apply(settle("w.2"))
    assert file.sent == [execute("w", 1)]
    assert file.crash().apply(acquire("w", 1)).ok
    assert file.crash().apply(suspend("w", "w.1", version=2)).status == 200
    clock.advance(HOUR)
    file.crash().tick()
    assert execute("w", 2) in file.sent
    assert file.crash().apply(acquire("w", 2)).ok
    assert file.crash().apply(fulfill("w", 3, data="out")).ok
    file.crash().tick()
    assert [record.state for record in file.store.records()] == ["resolved"] * 3
    assert all(record.delivered for record in file.store.records() if record.root)
    assert file.store.next_wake_at() is None


def test_schedule_catches_up_after_a_crash(file: File, clock: ManualClock) -> None:
    file.store.apply(schedule("s", timeout=DAY))
    clock.advance(3 * HOUR)
    store = file.crash()
    assert store.tick() == 2
    first = T0 + 20 * SECOND
    offered = [message["data"]["task"]["id"] for _, message in file.sent]
    assert offered == [f"s.{first + n * MINUTE}" for n in range(180)]
    assert present(file.crash().apply(ScheduleGet("s")).schedule).next_run_at == first + 180 * MINUTE


def test_store_without_a_file_is_not_shared(clock: ManualClock) -> None:
    with closing(SqliteStore(":memory:", clock)) as one, closing(SqliteStore(":memory:", clock)) as other:
        one.apply(create("p"))
        assert (one.apply(get("p")).status, other.apply(get("p")).status) == (200, 404)


# -- messages ---------------------------------------------------------------------------------------------------------


def test_offer_is_repeated_when_the_file_is_opened(file: File) -> None:
    """The worker may have ended too, so the task does not wait for the next regular offer."""
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


def test_failed_request_keeps_offers_of_an_earlier_process(file: File) -> None:
    file.store.apply(create("w", TARGETED))
    file.crash()
    file.disk.full = True
    with pytest.raises(StoreError):
        file.store.apply(create("p"))
    file.disk.full = False
    file.store.tick()
    assert file.sent == [execute("w", 0)]


def apply_unsent(file: File, request: Request) -> None:
    """Apply a request whose message cannot be sent."""

    def fail(*_: object) -> None:
        raise ConnectionError("the receiver's network is down")

    file.store.subscribe(send=fail)
    with pytest.raises(ConnectionError):
        file.store.apply(request)


def test_cleared_store_sends_no_earlier_message(file: File) -> None:
    for request in (create("p"), listen("p")):
        file.store.apply(request)
    apply_unsent(file, settle("p"))
    file.crash().clear()
    file.store.tick()
    assert file.sent == []
    file.crash().tick()
    assert file.sent == []


def test_message_not_sent_is_sent_after_a_crash(file: File) -> None:
    file.store.apply(create("p"))
    file.store.apply(listen("p"))
    apply_unsent(file, settle("p"))
    assert present(file.store.record("p")).state == "resolved"
    file.crash().tick()
    ((address, message),) = file.sent
    assert (address, message["data"]["promise"]["id"]) == (LISTENER, "p")


def test_message_sent_is_not_sent_again(file: File) -> None:
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


def test_message_with_the_number_of_an_earlier_one_is_kept(file: File) -> None:
    """SQLite gives a number again once the table is empty."""
    for request in (create("p"), listen("p"), settle("p"), create("q"), listen("q")):
        file.store.apply(request)
    apply_unsent(file, settle("q"))
    file.store.apply(create("another"))
    file.crash().tick()
    assert [message["data"]["promise"]["id"] for _, message in file.sent] == ["q"]


def test_effects_left_to_a_killed_caller_are_carried_out(file: File) -> None:
    file.store.apply(create_task("w"))
    file.store.apply(create("a"))
    file.store.apply(suspend("w", "a"))
    file.store.transact(settle("a"))
    store = file.crash()
    assert present(present(store.record("w")).task).state == "pending"
    store.tick()
    assert file.sent == [execute("w", 1)]


# -- all or nothing ---------------------------------------------------------------------------------------------------

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


def test_request_that_fails_at_any_write_changes_nothing(tmp_path: Path, clock: ManualClock) -> None:
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


def test_kill_9_loses_no_acknowledged_write(path: Path) -> None:
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
        with closing(SqliteStore(path, synchronous="off")) as store:
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


# -- open and close ---------------------------------------------------------------------------------------------------


def test_closed_invocation_keeps_the_file_open(file: File) -> None:
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


def test_closed_store_raises_an_error(path: Path, clock: ManualClock) -> None:
    store = SqliteStore(path, clock)
    store.apply(create("p"))
    store.close()
    store.close()
    for call in (lambda: store.apply(get("p")), store.tick, store.records, lambda: store.children("p")):
        with pytest.raises(StoreClosed, match="is closed"):
            call()
    with closing(SqliteStore(path, synchronous="off")) as again:
        assert again.apply(get("p")).ok


def test_closed_store_refuses_every_thread(file: File) -> None:
    file.store.close()
    with ThreadPoolExecutor(1) as other, pytest.raises(StoreClosed):
        other.submit(file.store.records).result(10)


def test_records_of_any_text_are_read_back_after_a_crash(file: File) -> None:
    """Tags, values and ids of any text; every field of a record."""
    odd = "é/ #\U0010ffff'\""
    for request in (*REQUESTS, create(odd, {odd: odd, "self": ""})):
        assert file.store.apply(request).status in (200, 300)
    before = file.store.records()
    assert file.crash().records() == before
    assert present(file.store.apply(PromiseSearch(tags={odd: odd})).promises)[0].id == odd


def test_ttl_that_cannot_be_stored_is_400(file: File) -> None:
    assert file.store.apply(create_task("w", ttl=10**30)).status == 400
    assert file.store.apply(create_task("w", ttl=2**53)).ok


def test_cleared_store_is_empty_after_a_crash(file: File) -> None:
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


def damage(file: File, id: str) -> None:
    file.disk.execute("UPDATE promise SET record = ? WHERE id = ?", (b"\x91\x01", id))


def test_damaged_record_is_named_and_blocks_no_other(file: File, clock: ManualClock) -> None:
    for id in ("bad", "good"):
        file.store.apply(create(id, OUTSIDE, at=T0 + SECOND))
    damage(file, "bad")
    status, answer = Service(file.store).answer(envelope("promise.get", {"id": "bad"}))
    assert (status, b"record of the promise 'bad' is damaged" in answer) == (503, True)

    clock.advance(SECOND)
    file.store.tick()
    assert present(file.store.record("good")).state == "rejected_timedout"
    assert file.crash().apply(get("good")).status == 200


def test_damaged_record_does_not_block_later_offers(file: File) -> None:
    file.store.apply(create("bad", OUTSIDE, at=T0 + SECOND))
    file.store.apply(create("w", TARGETED))
    damage(file, "bad")
    file.crash().tick()
    assert file.sent == [execute("w", 0)]
