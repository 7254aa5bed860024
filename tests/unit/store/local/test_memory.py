"""The store in memory: its own effects and ticks, many threads at once, and the machine under random histories."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from resonate_store.interface import deliver
from resonate_store.local.memory import MemoryStore
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ManualClock, installed
from resonate_store.model.records import STANDING, Record
from resonate_store.model.requests import (
    PromiseWake,
    Request,
    Response,
    ScheduleGet,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskHalt,
    TaskRegister,
    TaskSuspendRegistered,
)
from resonate_store.model.tags import ORIGIN
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    WORKERS,
    acquire,
    callback,
    create,
    create_task,
    execute,
    fence,
    fulfill,
    get,
    heartbeat,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
    value,
)
from tests.support.hypothesis_settings import examples
from tests.support.present import present
from tests.support.substrates import T0, World, in_memory

Sent = list[tuple[str, dict[str, Any]]]
T = TypeVar("T")


@pytest.fixture
def sent() -> Sent:
    return []


@pytest.fixture
def memory(clock: ManualClock, sent: Sent) -> MemoryStore:
    return MemoryStore(clock, lambda address, message: sent.append((address, message)))


# -- effects in process -------------------------------------------------------------------------------------------


def test_a_workflow_runs_to_its_end_in_process(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    """Create, acquire, suspend on a timer and a promise, resume, fulfil: every effect is carried out by apply."""
    memory.apply(create("w", TARGETED))
    memory.apply(listen("w"))
    memory.apply(acquire("w", 0))
    memory.apply(fence("w", create("w.1", TIMED, at=T0 + HOUR)))
    memory.apply(fence("w", create("w.2")))
    assert memory.apply(suspend("w", "w.1", "w.2")).status == 200
    memory.apply(settle("w.2"))
    assert sent == [execute("w", 0), execute("w", 1)]
    memory.apply(acquire("w", 1))
    assert memory.apply(suspend("w", "w.1", version=2)).status == 200
    clock.advance(HOUR)
    assert memory.tick() == 2  # the timer, and the wake-up that the acquired task has left behind
    assert sent.pop() == execute("w", 2)
    memory.apply(acquire("w", 2))
    memory.apply(fulfill("w", 3, data="out"))
    address, message = sent.pop()
    assert (address, message["kind"], message["data"]["promise"]["state"]) == (LISTENER, "unblock", "resolved")
    assert [record.state for record in memory.records()] == ["resolved"] * 3
    assert all(record.delivered for record in memory.records() if record.root)
    assert memory.next_wake_at() is None


def test_a_timeout_unblocks_a_listener_once(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    memory.apply(create("p", OUTSIDE, at=T0 + MINUTE))
    memory.apply(listen("p"))
    clock.advance(MINUTE)
    memory.tick()
    memory.tick()
    assert [address for address, _ in sent] == [LISTENER]


def test_transact_leaves_the_effects_to_the_caller(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    response, (change,) = memory.transact(create("w", TARGETED))
    assert (response.status, change.before, change.after) == (200, None, memory.record("w"))
    assert sent == []
    memory.apply(create("other", TARGETED))
    assert sent == [execute("other", 0)]
    memory.transact(settle("other"))
    clock.advance(MINUTE)
    memory.tick()
    assert present(memory.record("other")).delivered


def test_records_are_listed_by_id(memory: MemoryStore) -> None:
    for id in ("b", "a.2", "a", "a.1"):
        memory.apply(create(id))
    assert [record.id for record in memory.records()] == ["a", "a.1", "a.2", "b"]
    assert memory.record("nowhere") is None


def test_children_are_those_below_the_separator(memory: MemoryStore) -> None:
    for id in ("a", "a.1", "a:1"):
        memory.apply(create(id))
    assert [[promise.id for promise in memory.children("a", separator)] for separator in ".:"] == [["a.1"], ["a:1"]]


def test_cleared_store_has_no_children_and_sends_no_earlier_message(memory: MemoryStore, sent: Sent) -> None:
    def send(address: str, message: dict[str, Any]) -> None:
        sent.append((address, message))
        memory.clear()

    memory.subscribe(send=send)
    for request in (create("a"), create("a.1"), listen("a"), listen("a", "http://localhost/listener"), settle("a")):
        memory.apply(request)
    assert len(sent) == 1
    assert memory.children("a") == []


def test_a_store_without_arguments_takes_the_ambient_clock(clock: ManualClock) -> None:
    with installed(clock):
        memory = MemoryStore()
    assert present(memory.apply(create("w", TARGETED)).promise).created_at == T0
    assert memory.clock is clock


def test_an_invocation_may_open_and_close_it(memory: MemoryStore) -> None:
    opened = memory.open()
    opened.apply(create("p"))
    opened.close()
    assert memory.apply(get("p")).ok


# -- time ---------------------------------------------------------------------------------------------------------


def test_a_tick_does_what_is_due_in_order(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    """The earliest first, ties by kind and id; what is not due yet is left alone."""
    for id, away in (("c", 3), ("b", 1), ("z", 2), ("a", 2), ("later", 60)):
        memory.apply(create(id, OUTSIDE, at=T0 + away * SECOND))
        memory.apply(listen(id))
    clock.advance(3 * SECOND)
    assert memory.due(clock.now()) == [("promise", id) for id in ("b", "a", "z", "c")]
    assert memory.tick() == 4
    assert [message["data"]["promise"]["id"] for _, message in sent] == ["b", "a", "z", "c"]
    assert (memory.tick(), memory.next_wake_at()) == (0, T0 + MINUTE)


def test_a_tick_goes_on_with_what_it_brings_about(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    """A timer that resumes, an offer that is overdue, occurrences to catch up: one tick, in the order of time."""
    memory.apply(create_task("w"))
    memory.apply(create("t", TIMED, at=T0 + 90 * SECOND))
    memory.apply(suspend("w", "t"))
    memory.apply(schedule("s", timeout=DAY))
    sent.clear()
    clock.advance(3 * HOUR)
    memory.tick()
    first = T0 + 20 * SECOND
    occurrences = [f"s.{first + n * MINUTE}" for n in range(180)]
    assert sorted(sent, key=repr) == sorted([execute("w", 1), *(execute(id, 0) for id in occurrences)], key=repr)
    order = [message["data"]["task"]["id"] for _, message in sent]
    assert [id for id in order if id != "w"] == occurrences
    assert memory.next_wake_at() == clock.now() + 20 * SECOND
    assert present(memory.apply(ScheduleGet("s")).schedule).next_run_at == clock.now() + 20 * SECOND


def test_entry_due_at_one_instant_twice_is_listed_once(memory: MemoryStore, clock: ManualClock) -> None:
    for request in (create_task("w"), release("w", handover=True), acquire("w", 1)):
        memory.apply(request)
    clock.advance(MINUTE)
    assert memory.tick() == 1
    assert memory.due(T0 + HOUR) == [("promise", "w")]


def test_tick_of_many_entries_lets_others_have_the_store(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    ids = ("a", "b", "c", "d", "e")
    left: list[int] = []

    class Lock:
        """A lock that notes the number of pending promises at each release."""

        depth = 0

        def __enter__(self) -> None:
            self.depth += 1

        def __exit__(self, *_: object) -> None:
            self.depth -= 1
            if self.depth == 0:
                left.append(sum(record.pending for record in map(memory.record, ids) if record is not None))

    monkeypatch.setattr("threading.RLock", Lock)
    monkeypatch.setattr("resonate_store.local.embedded.BATCH", 2)
    memory = MemoryStore(clock)
    for id in ids:
        memory.apply(create(id, OUTSIDE, at=T0 + SECOND))
    left.clear()
    clock.advance(SECOND)
    assert memory.tick() == 5
    assert left[:3] == [3, 1, 0]


def test_tick_delivers_a_settlement_left_undelivered(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
    memory.apply(create("a"))
    memory.apply(listen("a"))
    memory.transact(settle("a"))
    clock.advance(MINUTE)
    memory.tick()
    assert [address for address, _ in sent] == [LISTENER]


def test_next_wake_at_follows_what_is_stored(memory: MemoryStore, clock: ManualClock) -> None:
    assert memory.next_wake_at() is None
    memory.apply(create("far", OUTSIDE, at=T0 + HOUR))
    assert memory.next_wake_at() == T0 + HOUR
    memory.apply(create("near", OUTSIDE, at=T0 + MINUTE))
    assert memory.next_wake_at() == T0 + MINUTE
    memory.apply(settle("near"))
    assert memory.next_wake_at() == T0 + HOUR
    memory.apply(settle("far"))
    assert memory.next_wake_at() is None
    assert (clock.now(), memory.tick()) == (T0, 0)


def test_on_wake_is_told_when_the_next_wakeup_comes_nearer(memory: MemoryStore) -> None:
    told: list[int] = []
    memory.subscribe(on_wake=told.append)
    memory.apply(create("a", OUTSIDE, at=T0 + HOUR))
    memory.apply(create("b", OUTSIDE, at=T0 + 2 * HOUR))
    memory.apply(create("c", OUTSIDE, at=T0 + MINUTE))
    memory.apply(create("plain", at=T0 + SECOND))
    assert told == [T0 + HOUR, T0 + MINUTE]
    memory.apply(listen("plain"))
    assert told == [T0 + HOUR, T0 + MINUTE, T0 + SECOND]


def test_subscription_to_messages_keeps_the_listener_to_wakeups(memory: MemoryStore, sent: Sent) -> None:
    told: list[int] = []
    memory.subscribe(on_wake=told.append)
    memory.subscribe(send=lambda *message: sent.append(message))
    memory.apply(create("w", TARGETED))
    assert (len(told), sent) == (1, [execute("w", 0)])


# -- messages leave outside the lock ------------------------------------------------------------------------------


def test_a_receiver_may_call_back_at_once_from_any_thread(clock: ManualClock) -> None:
    """`send` is called outside the lock: a worker thread that acquires within it is not blocked."""
    versions: list[int] = []

    def send(address: str, message: dict[str, Any]) -> None:
        task = message["data"]["task"]
        worker = threading.Thread(
            target=lambda: versions.append(present(memory.apply(acquire(task["id"], task["version"])).task).version),
            daemon=True,
        )
        worker.start()
        worker.join(timeout=10)
        assert not worker.is_alive(), f"{address}: the store is locked while it sends"

    memory = MemoryStore(clock, send)
    memory.apply(create("w", TARGETED))
    memory.apply(release("w", handover=True))
    memory.apply(release("w", 2, error="boom"))
    clock.advance(MINUTE)
    memory.tick()
    assert versions == [1, 2, 3]


def test_a_receiver_may_call_back_within_the_call(clock: ManualClock, sent: Sent) -> None:
    def send(address: str, message: dict[str, Any]) -> None:
        sent.append((address, message))
        if message["kind"] == "execute" and message["data"]["task"]["id"] == "a":
            memory.apply(create("b", TARGETED))
            memory.apply(settle("a"))

    memory = MemoryStore(clock, send)
    memory.apply(create("a", TARGETED))
    assert sent == [execute("a", 0), execute("b", 0)]
    assert present(memory.record("a")).state == "resolved"


# -- many threads -------------------------------------------------------------------------------------------------

THREADS = 8
ROUNDS = 40


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns far more often than usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


pytestmark = pytest.mark.usefixtures("eager_switching")


def together(*actions: Callable[[], T]) -> list[T]:
    """Run the actions at the same moment, each in its own thread; their results in the same order."""
    results: dict[int, T] = {}
    barrier = threading.Barrier(len(actions))

    def run(n: int, action: Callable[[], T]) -> None:
        barrier.wait(timeout=10)
        results[n] = action()

    threads = [threading.Thread(target=run, args=(n, action), daemon=True) for n, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == len(actions), "a thread failed or hangs"
    return [results[n] for n in range(len(actions))]


def by_all(memory: MemoryStore, request_of: Callable[[int], Request]) -> list[Response]:
    """Apply one request per thread at the same moment."""
    return together(*(partial(memory.apply, request_of(n)) for n in range(THREADS)))


def test_threads_that_create_one_promise_get_one_promise(memory: MemoryStore, sent: Sent) -> None:
    for r in range(ROUNDS):
        responses = by_all(memory, lambda n, r=r: create(f"p{r}", TARGETED, param=str(n)))
        assert all(response.promise == responses[0].promise for response in responses)
        assert present(memory.record(f"p{r}")).rev == 1
    assert sent == [execute(f"p{r}", 0) for r in range(ROUNDS)]


def test_threads_that_create_one_task_have_one_winner(memory: MemoryStore) -> None:
    for r in range(ROUNDS):
        responses = by_all(memory, lambda _, r=r: create_task(f"w{r}"))
        assert sorted(response.status for response in responses) == [200] + [409] * (THREADS - 1)
        assert present(present(memory.record(f"w{r}")).task).version == 1


def test_threads_that_settle_one_promise_agree(memory: MemoryStore, sent: Sent) -> None:
    for r in range(ROUNDS):
        memory.apply(create(f"p{r}"))
        memory.apply(listen(f"p{r}"))
        responses = by_all(memory, lambda n, r=r: settle(f"p{r}", ("resolved", "rejected")[n % 2], str(n)))
        stored = present(memory.record(f"p{r}")).promise()
        assert all(response.promise == stored for response in responses)
        assert stored.value in [value(str(n)) for n in range(THREADS)]
    assert [message["data"]["promise"]["id"] for _, message in sent] == [f"p{r}" for r in range(ROUNDS)]


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
        assert (task.version, task.pid) == (
            r + 1,
            f"p{winner}",
        )
        assert {response.status for response in responses} == {200, 409}
        released = by_all(memory, lambda _, r=r: release("w", r + 1, handover=True))
        assert sorted(response.status for response in released) == [200] + [409] * (THREADS - 1)


def test_a_suspension_and_a_settlement_at_once_lose_nothing(memory: MemoryStore, sent: Sent) -> None:
    """Either the suspension sees the settlement (300), or the settlement resumes the task; never neither."""
    seen: set[int] = set()
    for r in range(4 * ROUNDS):
        w, a = f"w{r}", f"a{r}"
        memory.apply(create_task(w))
        memory.apply(create(a, OUTSIDE))
        sent.clear()
        suspension, _ = together(
            lambda w=w, a=a: memory.apply(suspend(w, a)),
            lambda a=a: memory.apply(settle(a)),
        )
        seen.add(suspension.status)
        task = present(present(memory.record(w)).task)
        if suspension.status == 300:
            assert (task.state, sent) == ("acquired", [])
        else:
            assert (suspension.status, task.state, task.resumes) == (200, "pending", (a,))
            assert sent == [execute(w, 1)]
    assert seen <= {200, 300}


def test_many_settlements_at_once_resume_a_task_once(memory: MemoryStore, sent: Sent) -> None:
    for r in range(ROUNDS):
        awaited = [f"a{r}.{n}" for n in range(THREADS)]
        memory.apply(create_task(f"w{r}"))
        for id in awaited:
            memory.apply(create(id, OUTSIDE))
        memory.apply(suspend(f"w{r}", *awaited))
        sent.clear()
        by_all(memory, lambda n, awaited=awaited: settle(awaited[n]))
        assert sent == [execute(f"w{r}", 1)]
        assert present(present(memory.record(f"w{r}")).task).resumes == tuple(awaited)


def test_many_tasks_suspend_on_one_promise_while_it_settles(memory: MemoryStore, sent: Sent) -> None:
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


def test_threads_that_tick_do_everything_once(memory: MemoryStore, clock: ManualClock, sent: Sent) -> None:
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


def test_a_heartbeat_and_an_expiry_at_once_leave_one_holder(memory: MemoryStore, clock: ManualClock) -> None:
    """Whichever comes first: the lease is extended, or the task is free and the heartbeat of the old holder ignored."""
    for r in range(ROUNDS):
        memory.apply(create_task(f"w{r}", ttl=SECOND))
        clock.advance(SECOND)
        together(lambda r=r: memory.apply(heartbeat((f"w{r}", 1))), memory.tick)
        task = present(present(memory.record(f"w{r}")).task)
        expected = {"acquired": clock.now() + SECOND, "pending": None}
        assert task.expires_at == expected[task.state]
        memory.apply(settle(f"w{r}"))


# -- random histories ---------------------------------------------------------------------------------------------

TASKS = ("w", "v", "w.1")
PROMISES = ("a", "b", "c.1", "w.2", "w.3", "v.1", "v.2", "t")
IDS = TASKS + PROMISES
AWAY = st.sampled_from([-MINUTE, 0, SECOND, MINUTE, 40 * MINUTE])
STATES = st.sampled_from(["resolved", "rejected", "rejected_canceled"])
TAGS = st.sampled_from([{}, OUTSIDE, TIMED, TARGETED, {ORIGIN: "w"}])
VERSION = st.sampled_from([0, 0, 0, -1, 1])
"""How far off the task's own version a request is."""


class Histories(RuleBasedStateMachine):
    """Any requests in any order, deliveries late, repeated, reordered or lost, clocks that differ."""

    def __init__(self) -> None:
        super().__init__()
        self.world = in_memory(ManualClock(T0))
        self.world.hold()
        self.slow = self.world.neighbour(-2 * SECOND)
        self.slow.hold()
        self.slow.backlog = self.world.backlog
        self.before: dict[str, Record] = {}
        self.registered: set[tuple[str, int]] = set()
        self.winners: dict[tuple[str, int], str] = {}

    @initialize(held=st.lists(st.booleans(), min_size=len(TASKS), max_size=len(TASKS)))
    def begin(self, held: list[bool]) -> None:
        """Histories begin with something to work on, or they would mostly be about what does not exist."""
        for id, acquired in zip(TASKS, held, strict=True):
            self.create_task(id, DAY if acquired else HOUR, acquired)
        for id in PROMISES[:-1]:
            self.do(create(id, OUTSIDE if "." in id else {}, at=T0 + HOUR))

    # what a worker does in one go, so that histories get somewhere

    @rule(id=st.sampled_from(TASKS), awaited=st.lists(st.sampled_from(PROMISES), min_size=1, max_size=3))
    def work(self, id: str, awaited: list[str]) -> None:
        self.do(acquire(id, self.version(id, 0), ttl=MINUTE))
        self.do(suspend(id, *awaited, version=self.version(id, 0)))

    @precondition(lambda self: self.awaited())
    @rule(data=st.data(), told=st.booleans())
    def settle_awaited(self, data: st.DataObject, told: bool) -> None:
        self.do(settle(data.draw(st.sampled_from(self.awaited()))))
        if told:
            self.tell(self.world.backlog.pop())

    def awaited(self) -> list[str]:
        return [id for id, record in self.before.items() if record.pending and record.callbacks]

    # requests

    def do(self, request: Request, slow: bool = False) -> Response:
        response = (self.slow if slow else self.world).apply(request)
        assert response.status in (200, 300, 400, 404, 409, 422), response
        self.compare(request, response)
        return response

    def version(self, id: str, off: int) -> int:
        record = self.world.record(id)
        return max(0, (record.task.version if record is not None and record.task is not None else 0) + off)

    @rule(id=st.sampled_from(PROMISES), tags=TAGS, away=AWAY, slow=st.booleans())
    def create(self, id: str, tags: dict[str, str], away: int, slow: bool) -> None:
        self.do(create(id, tags, at=self.world.clock.now() + away), slow)

    @rule(id=st.sampled_from(TASKS), away=st.integers(MINUTE, 3 * HOUR), held=st.booleans())
    def create_task(self, id: str, away: int, held: bool) -> None:
        at = self.world.clock.now() + away
        self.do(create_task(id, at=at, ttl=MINUTE) if held else create(id, TARGETED, at=at))

    @rule(id=st.sampled_from(IDS), state=STATES, slow=st.booleans())
    def settle(self, id: str, state: Any, slow: bool) -> None:
        self.do(settle(id, state), slow)

    @rule(id=st.sampled_from(PROMISES), state=STATES, away=AWAY)
    def record(self, id: str, state: Any, away: int) -> None:
        now = self.world.clock.now()
        self.do(recorded(id, state, at=now + away, began=min(now, now + away)))

    @rule(id=st.sampled_from(TASKS), off=VERSION, pid=st.sampled_from(["p1", "p2"]), slow=st.booleans())
    def acquire(self, id: str, off: int, pid: str, slow: bool) -> None:
        self.do(acquire(id, self.version(id, off), pid=pid, ttl=MINUTE), slow)

    @rule(id=st.sampled_from(TASKS), off=VERSION, awaited=st.lists(st.sampled_from(IDS), min_size=1, max_size=3))
    def suspend(self, id: str, off: int, awaited: list[str]) -> None:
        version = self.version(id, off)
        self.registered.discard((id, version))
        self.do(suspend(id, *awaited, version=version))

    @rule(id=st.sampled_from(TASKS), off=VERSION, awaited=st.lists(st.sampled_from(PROMISES), min_size=1))
    def register(self, id: str, off: int, awaited: list[str]) -> None:
        version = self.version(id, off)
        if self.do(TaskRegister(id, version, tuple(awaited))).ok:
            self.registered.add((id, version))

    @precondition(lambda self: self.registered)
    @rule(data=st.data())
    def suspend_registered(self, data: st.DataObject) -> None:
        id, version = data.draw(st.sampled_from(sorted(self.registered)))
        self.registered.discard((id, version))
        self.do(TaskSuspendRegistered(id, version))

    @rule(id=st.sampled_from(TASKS), off=VERSION, handover=st.booleans())
    def release(self, id: str, off: int, handover: bool) -> None:
        self.do(release(id, self.version(id, off), handover=handover))

    @rule(id=st.sampled_from(TASKS), off=VERSION, state=STATES)
    def fulfill(self, id: str, off: int, state: Any) -> None:
        self.do(fulfill(id, self.version(id, off), state))

    @rule(id=st.sampled_from(TASKS), off=VERSION, other=st.sampled_from(PROMISES), settling=st.booleans())
    def fence(self, id: str, off: int, other: str, settling: bool) -> None:
        action = settle(other) if settling else create(other, at=self.world.clock.now() + HOUR)
        self.do(fence(id, action, self.version(id, off)))

    @rule(id=st.sampled_from(TASKS), off=VERSION, pid=st.sampled_from(["p1", "p2"]))
    def heartbeat(self, id: str, off: int, pid: str) -> None:
        self.do(heartbeat((id, self.version(id, off)), pid=pid))

    @rule(id=st.sampled_from(TASKS), halting=st.booleans())
    def halt_or_continue(self, id: str, halting: bool) -> None:
        self.do(TaskHalt(id) if halting else TaskContinue(id))

    @rule(awaited=st.sampled_from(IDS), awaiter=st.sampled_from(TASKS), listening=st.booleans())
    def wait(self, awaited: str, awaiter: str, listening: bool) -> None:
        self.do(listen(awaited) if listening else callback(awaited, awaiter))

    @rule(id=st.sampled_from(IDS), slow=st.booleans())
    def look(self, id: str, slow: bool) -> None:
        self.do(get(id), slow)

    # time and deliveries

    @rule(milliseconds=st.sampled_from([1, SECOND, 30 * SECOND, MINUTE, 10 * MINUTE]))
    def time_passes(self, milliseconds: int) -> None:
        self.world.clock.advance(milliseconds)

    @rule(id=st.sampled_from(IDS))
    def a_timer_fires(self, id: str) -> None:
        self.do(PromiseWake(id))

    @rule()
    def the_sweep_runs(self) -> None:
        self.world.tick()
        self.compare(None, None)

    @precondition(lambda self: self.world.backlog)
    @rule(data=st.data(), fate=st.sampled_from(["delivered", "delivered", "delivered", "repeated", "lost"]))
    def an_effect_is(self, data: st.DataObject, fate: str) -> None:
        backlog = self.world.backlog
        n = data.draw(st.integers(0, len(backlog) - 1))
        change = backlog[n]
        if fate != "repeated":
            del backlog[n]
        if fate == "lost":
            return
        self.tell(change)

    def tell(self, change: Change) -> None:
        """Make one delivery: it resumes whoever waits for it, at this version or at any, and nobody else."""
        deliver(change, self.world.outlets)
        told: dict[str, int] = {}
        if isinstance(change.after, Record) and change.after.owes:
            told, left = change.after.callbacks, self.before[change.after.id].callbacks
            # A registration is told once, whatever the version, and then gone.
            told = {id: version for id, version in told.items() if STANDING + id not in told} | {
                id: task.version
                for id, record in self.before.items()
                if (task := record.task) is not None and STANDING + id in told and STANDING + id in left
            }
        for id, was in self.before.items():
            if was.task is not None and was.task.state in ("suspended", "halted"):
                meant = was.task.state == "suspended" and told.get(id) == was.task.version
                dead = was.timeout_at <= self.world.clock.now()
                assert dead or self.world.task(id).state == ("pending" if meant else was.task.state)
        self.compare(None, None)

    # what must hold

    def compare(self, request: Request | None, response: Response | None) -> None:
        """What one step may do to the records."""
        after = {id: record for id in IDS if (record := self.world.record(id)) is not None}
        for id, earlier in self.before.items():
            later = after[id]
            if later is earlier:
                continue
            assert later.rev > earlier.rev
            assert later.written_at >= earlier.written_at
            fixed = ("param", "tags", "timeout_at", "created_at")
            assert [getattr(later, name) for name in fixed] == [getattr(earlier, name) for name in fixed]
            if not earlier.pending:
                outcome = ("state", "value", "settled_at", "task")
                assert [getattr(later, name) for name in outcome] == [getattr(earlier, name) for name in outcome]
                assert later.callbacks.items() <= earlier.callbacks.items()
                assert later.listeners.items() <= earlier.listeners.items()
        for id, later in after.items():
            self.compare_versions(self.before.get(id), later, request, response)
        self.before = after

    def compare_versions(
        self, earlier: Record | None, later: Record, request: Request | None, response: Response | None
    ) -> None:
        """Only an acquisition counts the version up, by one, and each version has one winner."""
        was = earlier.task.version if earlier is not None and earlier.task is not None else 0
        if later.task is None or later.task.version == was:
            return
        assert later.task.version == was + 1
        assert earlier is None or earlier.task is None or earlier.task.state == "pending"
        assert isinstance(request, TaskAcquire | TaskCreate)
        assert isinstance(request, TaskCreate) or request.version == was
        assert response is not None
        assert response.ok
        view = later.task_view()
        assert response.task is not None
        assert view is not None
        assert response.task == replace(view, resumed_by=response.task.resumed_by)
        assert later.task.state == "acquired"
        assert (later.id, later.task.version) not in self.winners
        self.winners[later.id, later.task.version] = later.task.pid or ""

    @invariant()
    def a_task_is_fulfilled_exactly_when_its_promise_is_settled(self) -> None:
        for record in self.before.values():
            assert (record.settled_at is None) == record.pending
            if record.task is not None:
                assert (record.task.state == "fulfilled") == (not record.pending)

    @invariant()
    def a_lease_belongs_to_an_acquired_task(self) -> None:
        for record in self.before.values():
            task = record.task
            if task is not None:
                held = task.state == "acquired"
                assert [name is not None for name in (task.pid, task.ttl, task.expires_at)] == [held] * 3
                assert (task.retry_at is not None) == (task.state == "pending")
                assert (task.halted_at is not None) == (task.state == "halted")

    @invariant()
    def nothing_is_due_before_the_wakeup(self) -> None:
        for record in self.before.values():
            due: list[int] = []
            task = record.task
            external = record.tags.get("resonate:external") == "true" or record.timer or task is not None
            if record.pending and (external or record.callbacks or record.listeners):
                due.append(record.timeout_at)
            if task is not None:
                due += [at for at in (task.expires_at, task.retry_at) if at is not None]
            if not record.pending and not record.delivered and (record.callbacks or record.listeners or record.root):
                due.append(record.written_at + MINUTE)
            if due:
                assert record.wake_at is not None
                assert record.wake_at <= min(due)

    @invariant()
    def somebody_will_wake_every_suspended_task(self) -> None:
        """Some promise holds its callback at its version: pending, or settled and not delivered yet."""
        for record in self.before.values():
            if record.task is not None and record.task.state == "suspended":
                assert any(
                    {(record.id, None), (record.id, record.task.version)} & set(other.waiters)
                    and (other.pending or other.owes)
                    for other in self.before.values()
                )

    def teardown(self) -> None:
        """Whatever was lost, the sweep makes up for it: everybody is told, and in the end nothing is left to do."""
        self.world.backlog.clear()
        self.world.release()
        waiting = {
            (awaited.id, awaiter, version) for awaited in self.before.values() for awaiter, version in awaited.waiters
        }
        for _ in range(3):
            self.world.pass_time(MINUTE)
            self.compare(None, None)
        for awaited, awaiter, version in waiting:
            task = self.before[awaiter].task
            if not self.before[awaited].pending and task is not None and version in (None, task.version):
                assert task.state != "suspended"
        for record in self.before.values():
            assert not record.owes
        for _ in range(5):
            self.world.pass_time(DAY)
            self.compare(None, None)
        assert self.world.due() == []
        assert [record.id for record in self.before.values() if record.pending and record.armed] == []
        assert {address for address, _ in self.world.messages()} <= {WORKERS, LISTENER}


class TestHistories(Histories.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=examples(90), stateful_step_count=40, deadline=None, derandomize=True, database=None
    )


def test_heartbeat_of_many_tasks_lets_others_have_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Counting(ManualClock):
        """Each request asks it for the time once."""

        def now(self) -> int:
            held[-1] += 1
            return super().now()

    class Lock:
        def __enter__(self) -> None:
            held.append(0)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("threading.RLock", Lock)
    store = MemoryStore(Counting())
    assert store.apply(heartbeat(*((f"w{n}", 1) for n in range(1_201)))).status == 200
    assert held == [500, 500, 201]
    assert store.apply(heartbeat(*(("", 1) for _ in range(1_201)))).status == 400


def test_the_property_test_sees_a_world(clock: ManualClock) -> None:
    """The harness of the histories: held deliveries stay in the backlog until they are made."""
    world: World = in_memory(clock)
    world.hold()
    world.apply(create("w", TARGETED))
    assert (len(world.backlog), world.messages()) == (1, [])
    world.release()
    assert (len(world.backlog), world.messages()) == (0, [execute("w", 0)])
