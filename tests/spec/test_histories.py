"""The machine under random histories: what must hold after each step, and that no waiting task is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from resonate_store.delivery.outlets import deliver
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import PromiseCancel, TaskContinueAs
from resonate_store.model.ids import is_below
from resonate_store.model.records import STANDING, Record
from resonate_store.model.requests import (
    PromiseWake,
    Request,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskHalt,
    TaskRegister,
    TaskSuspend,
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
    settle,
    suspend,
)
from tests.support.hypothesis_settings import examples
from tests.support.substrates import T0, World, in_memory

TASKS = ("w", "v", "w.1")
PROMISES = ("a", "b", "c.1", "w.2", "w.3", "v.1", "v.2", "t")
IDS = TASKS + PROMISES
AWAY = st.sampled_from([-MINUTE, 0, SECOND, MINUTE, 40 * MINUTE])
STATES = st.sampled_from(["resolved", "rejected", "rejected_canceled"])
TAGS = st.sampled_from([{}, OUTSIDE, TIMED, TARGETED, {ORIGIN: "w"}])
SEEN = st.sampled_from([None, False, False, True])
"""Whether a worker that suspends knows that the execution is cancelled; None is a worker of an older version."""
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

    @rule(id=st.sampled_from(TASKS), awaited=st.lists(st.sampled_from(PROMISES), min_size=1, max_size=3), seen=SEEN)
    def work(self, id: str, awaited: list[str], seen: bool | None) -> None:
        self.do(acquire(id, self.version(id, 0), ttl=MINUTE))
        self.do_suspend(suspend(id, *awaited, version=self.version(id, 0), cancel_seen=seen))

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

    def do_suspend(self, request: TaskSuspend | TaskSuspendRegistered) -> None:
        """Suspend, and assert that only a worker that knows of a cancellation can."""
        earlier = self.before.get(request.id)
        response = self.do(request)
        if earlier is not None and earlier.cancel is not None and request.cancel_seen is False:
            assert response.status != 200
            assert response.status != 300 or (response.task is not None and response.task.cancel is not None)

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

    @rule(id=st.sampled_from(IDS), reason=st.sampled_from(["", "stop"]), force=st.sampled_from([False] * 3 + [True]))
    def cancel(self, id: str, reason: str, force: bool) -> None:
        """Cancel, and assert that a suspended task is offered, and that the answer is what is stored."""
        earlier = self.before.get(id)
        answer = self.do(PromiseCancel(id, reason, force))
        later = self.before.get(id)
        if earlier is None or later is None:
            assert answer.status == 404
        elif not later.pending:
            assert (answer.cancel == "accepted") == (earlier.pending and later.state == "rejected_canceled")
        else:
            assert answer.cancel == ("accepted" if earlier.cancel is None else "already")
            assert later.task is not None
            assert answer.cancel == "already" or later.task.state != "suspended"

    @rule(id=st.sampled_from(PROMISES), state=STATES, away=AWAY)
    def record(self, id: str, state: Any, away: int) -> None:
        now = self.world.clock.now()
        self.do(recorded(id, state, at=now + away, began=min(now, now + away)))

    @rule(id=st.sampled_from(TASKS), off=VERSION, pid=st.sampled_from(["p1", "p2"]), slow=st.booleans())
    def acquire(self, id: str, off: int, pid: str, slow: bool) -> None:
        self.do(acquire(id, self.version(id, off), pid=pid, ttl=MINUTE), slow)

    @rule(
        id=st.sampled_from(TASKS),
        off=VERSION,
        awaited=st.lists(st.sampled_from(IDS), min_size=1, max_size=3),
        seen=SEEN,
    )
    def suspend(self, id: str, off: int, awaited: list[str], seen: bool | None) -> None:
        version = self.version(id, off)
        self.registered.discard((id, version))
        self.do_suspend(suspend(id, *awaited, version=version, cancel_seen=seen))

    @rule(id=st.sampled_from(TASKS), off=VERSION, awaited=st.lists(st.sampled_from(PROMISES), min_size=1))
    def register(self, id: str, off: int, awaited: list[str]) -> None:
        version = self.version(id, off)
        if self.do(TaskRegister(id, version, tuple(awaited))).ok:
            self.registered.add((id, version))

    @precondition(lambda self: self.registered)
    @rule(data=st.data(), seen=SEEN)
    def suspend_registered(self, data: st.DataObject, seen: bool | None) -> None:
        id, version = data.draw(st.sampled_from(sorted(self.registered)))
        self.registered.discard((id, version))
        self.do_suspend(TaskSuspendRegistered(id, version, cancel_seen=seen))

    @rule(id=st.sampled_from(TASKS), off=VERSION, ahead=st.sampled_from([1, 1, 1, 0, 2]))
    def continue_as(self, id: str, off: int, ahead: int) -> None:
        record = self.before.get(id)
        generation = 1 if record is None or record.generation is None else record.generation
        self.do(TaskContinueAs(id, self.version(id, off), max(2, generation + ahead)))

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
        """Make one delivery, and assert that it resumes the tasks that wait for it, and no other task."""
        deliver(change, self.world.outlets)
        told: dict[str, int] = {}
        if isinstance(change.after, Record) and change.after.owes:
            told, left = change.after.callbacks, self.before[change.after.id].callbacks
            # A registration is delivered once, at any version, and then deleted.
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
            if earlier.cancel is not None:
                assert later.cancel == (earlier.cancel if later.pending else None)
            if later.cancel is not None:
                assert later.pending
                assert later.task is not None
            generations = [record.generation or 1 for record in (earlier, later)]
            if generations[0] != generations[1]:
                assert isinstance(request, TaskContinueAs)
                assert (later.id, generations[1]) == (request.id, request.generation)
                assert generations[1] == generations[0] + 1
                assert later.task == earlier.task
                assert later.task is not None
                assert (later.task.state, later.task.version) == ("acquired", request.version)
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
            if task is not None and task.covered:
                assert any(
                    is_below(other.id, record.id)
                    and {(record.id, None), (record.id, task.version)} & set(other.waiters)
                    for other in self.before.values()
                    if other.owes or (other.pending and other.timeout_at <= record.timeout_at)
                )
                continue
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
        """Assert that the sweep repeats what was lost, and that in the end nothing is due."""
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
        max_examples=examples(30, in_ci=270), stateful_step_count=40, deadline=None, derandomize=True, database=None
    )


def test_held_deliveries_stay_in_the_backlog(clock: ManualClock) -> None:
    """The harness of the histories: held deliveries stay in the backlog until they are made."""
    world: World = in_memory(clock)
    world.hold()
    world.apply(create("w", TARGETED))
    assert (len(world.backlog), world.messages()) == (1, [])
    world.release()
    assert (len(world.backlog), world.messages()) == (0, [execute("w", 0)])
