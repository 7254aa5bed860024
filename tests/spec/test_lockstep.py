"""The stores in memory, in SQLite and in DynamoDB, driven side by side with the same requests.

Whatever happens - in any order, with deliveries lost, late or repeated, by workers that remember old images - all
answer the same and store the same, to the last bookkeeping field. Effects are carried out for all by the same
`Side`, from what the records were and what they are, as the stream's consumer does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from resonate_store.delivery.outlets import deliver
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.execution_requests import PromiseCancel, TaskContinueAs, TaskRepin
from resonate_store.model.message_requests import StatePut, TaskPublish
from resonate_store.model.records import CatchUp, Overlap, SettledState, TaskState
from resonate_store.model.requests import (
    PromiseDelivered,
    PromiseSettle,
    PromiseWake,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskExtend,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRecordStep,
    TaskRegister,
    TaskRelease,
    TaskResume,
    TaskSuspend,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.model.schedule_requests import (
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)
from resonate_store.model.tags import ORIGIN
from tests.support.build import (
    HOUR,
    LISTENER,
    LOCAL,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    callback,
    create,
    create_task,
    delayed,
    get,
    heartbeat,
    listen,
    message,
    publish,
    receive,
    recorded,
    schedule,
    settle,
    value,
)
from tests.support.dynamo import Table
from tests.support.hypothesis_settings import ANY_HEALTH, examples
from tests.support.sides import InDynamo, InProcess, Side
from tests.support.substrates import T0

PIDS = st.sampled_from(["p1", "p2"])
TTLS = st.sampled_from([SECOND, 5 * MINUTE])
PINS = st.sampled_from(["lambda://worker:1", "lambda://worker:2"])
TASKS = "w", "w.1", "v#/ \U0001f600"
"""Ids of tasks, mostly: few enough that they meet."""
STEPS = "w.2", "w.1.1", "w.1.2", "w.", "t", "w.2+0", "w.2+1", "w.2+1.1", "w.3+1"
IDS = st.sampled_from([*TASKS, *STEPS])
NAMES = st.sampled_from(["m", "n"])
KEYS = st.sampled_from(["k1", "k2", "k3"])
TASK_IDS = st.sampled_from(TASKS)
LATER = st.sampled_from([-SECOND, SECOND, 5 * SECOND, MINUTE, 10 * MINUTE, HOUR])
SEEN = st.sampled_from([None, False, True])
"""Whether a worker that suspends knows that the execution is cancelled; None is a worker of an older version."""
STATES: st.SearchStrategy[SettledState] = st.sampled_from(["resolved", "rejected", "rejected_canceled"])


class Lockstep(RuleBasedStateMachine):
    def __init__(self, table: Table) -> None:
        super().__init__()
        self.memory = InProcess(MemoryStore)
        self.dynamo = InDynamo(table)
        self.sqlite = InProcess(partial(SqliteStore, ":memory:"))

    def teardown(self) -> None:
        self.sqlite.store.close()

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.memory, self.dynamo, self.sqlite

    def all(self, request: Request) -> None:
        expected = self.memory.apply(request)
        for side in (self.dynamo, self.sqlite):
            assert side.apply(request) == expected, request
            assert side.entries == self.memory.entries, request

    @property
    def now(self) -> int:
        return self.memory.clock.now()

    def a_task(self, data: st.DataObject, *states: TaskState) -> str:
        """The id of a task: one in these states as a rule, if there is one."""
        likely = [
            record.id
            for record in self.memory.store.records()
            if record.task is not None and record.task.state in states
        ]
        return data.draw(st.sampled_from(likely * 8 + list(TASKS)))

    def a_promise(self, data: st.DataObject, *unlike: str) -> str:
        """The id of a promise: a pending one as a rule, if there is one, and not one of these."""
        likely = [record.id for record in self.memory.store.records() if record.pending and record.id not in unlike]
        return data.draw(st.sampled_from(likely * 4 + [*TASKS, *STEPS]))

    def version(self, data: st.DataObject, id: str) -> int:
        """The version of a task, as a rule."""
        record = self.memory.store.record(id)
        version = 0 if record is None or record.task is None else record.task.version
        return max(0, version + data.draw(st.sampled_from([0] * 10 + [-1, 1])))

    @initialize()
    def begin(self) -> None:
        self.all(create_task("w", at=T0 + HOUR))
        self.all(create("w.1", TARGETED, at=T0 + 10 * MINUTE))
        self.all(create("w.2", TIMED, at=T0 + MINUTE))

    # What is asked. A method makes each kind of request; those that fit the moment come more often.

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(4, 8))):
            self.all(data.draw(st.sampled_from(self.likely()))(data))

    def likely(self) -> list[Callable[[st.DataObject], Request]]:
        ever = [
            self.create,
            self.create,
            self.create_target,
            self.create_task,
            self.get,
            self.settle,
            self.settle,
            self.cancel,
            self.record,
            self.register_callback,
            self.register_listener,
            self.get_task,
            self.acquire,
            self.release,
            self.fulfill,
            self.suspend,
            self.register,
            self.suspend_registered,
            self.fence,
            self.record_step,
            self.send,
            self.send,
            self.receive,
            self.publish,
            self.put_state,
            self.heartbeat,
            self.extend,
            self.verify,
            self.halt,
            self.resume_halted,
            self.repin,
            self.continue_as,
            self.resume,
            self.mark_delivered,
            self.create_schedule,
            self.get_schedule,
            self.delete_schedule,
            self.pause_schedule,
            self.resume_schedule,
            self.trigger_schedule,
            self.wake,
            self.fire,
        ]
        fitting: dict[TaskState, list[Callable[[st.DataObject], Request]]] = {
            "pending": [self.acquire] * 8,
            "acquired": [self.suspend, self.send, self.receive] * 4
            + [self.record_step, self.fence, self.register, self.suspend_registered, self.release] * 2
            + [self.continue_as] * 2,
            "suspended": [self.settle, self.send] * 3 + [self.resume, self.cancel],
            "halted": [self.resume_halted] * 3 + [self.repin],
            "fulfilled": [],
        }
        tasks = [record.task for record in self.memory.store.records() if record.task is not None]
        return ever + [build for task in tasks for build in fitting[task.state]]

    def create(self, data: st.DataObject) -> Request:
        tags = data.draw(st.sampled_from([{}, TIMED, OUTSIDE, LOCAL, {ORIGIN: "w"}]))
        return create(data.draw(IDS), tags, at=self.now + data.draw(LATER), param="in")

    def create_target(self, data: st.DataObject) -> Request:
        later, delay = data.draw(LATER), data.draw(st.none() | st.integers(-MINUTE, MINUTE))
        tags = TARGETED if delay is None or delay >= later else delayed(self.now + delay)
        return create(data.draw(TASK_IDS), tags, at=self.now + later)

    def get(self, data: st.DataObject) -> Request:
        return get(self.a_promise(data))

    def settle(self, data: st.DataObject) -> Request:
        return settle(self.a_promise(data), data.draw(STATES))

    def cancel(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "pending", "acquired", "suspended", "halted")
        reason = data.draw(st.sampled_from(["", "stop"]))
        return PromiseCancel(id, reason, data.draw(st.sampled_from([False, False, False, True])))

    def record(self, data: st.DataObject) -> Request:
        at, began = self.now + data.draw(LATER), self.now + data.draw(st.integers(-MINUTE, 0))
        return recorded(data.draw(IDS), data.draw(STATES), at=at, began=began)

    def register_callback(self, data: st.DataObject) -> Request:
        awaiter = self.a_task(data, "pending", "acquired", "suspended", "halted")
        return callback(self.a_promise(data, awaiter), awaiter)

    def register_listener(self, data: st.DataObject) -> Request:
        return listen(self.a_promise(data), data.draw(st.sampled_from([LISTENER, "https://example.com/x"])))

    def create_task(self, data: st.DataObject) -> Request:
        return create_task(data.draw(TASK_IDS), at=self.now + data.draw(LATER), ttl=data.draw(TTLS))

    def get_task(self, data: st.DataObject) -> Request:
        return TaskGet(data.draw(IDS))

    def acquire(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "pending")
        return TaskAcquire(id, self.version(data, id), data.draw(PIDS), data.draw(TTLS), data.draw(st.none() | PINS))

    def release(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        error = data.draw(st.none() | st.just("it broke"))
        return TaskRelease(id, self.version(data, id), data.draw(st.booleans()), error)

    def fulfill(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        return TaskFulfill(id, self.version(data, id), PromiseSettle(id, data.draw(STATES), value("out")))

    def suspend(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        receives, seen = data.draw(st.sampled_from([(), (), ("m",), ("m", "n")])), data.draw(st.integers(0, 2))
        return TaskSuspend(id, self.version(data, id), self.some_awaited(data, id), data.draw(SEEN), receives, seen)

    def register(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        return TaskRegister(id, self.version(data, id), self.some_awaited(data, id))

    def some_awaited(self, data: st.DataObject, awaiter: str) -> tuple[str, ...]:
        return tuple(self.a_promise(data, awaiter) for _ in range(data.draw(st.integers(1, 3))))

    def suspend_registered(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        receives, seen = data.draw(st.sampled_from([(), ("m",)])), data.draw(st.integers(0, 2))
        news = {"cancel_seen": data.draw(SEEN), "receives": receives, "seen": seen}
        return TaskSuspendRegistered(id, self.version(data, id), **news)

    def fence(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        other, state = self.a_promise(data, id), data.draw(st.none() | STATES)
        action = create(other, at=self.now + data.draw(LATER)) if state is None else settle(other, state)
        return TaskFence(id, self.version(data, id), action)

    def record_step(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        at, began = self.now + data.draw(LATER), self.now + data.draw(st.integers(-MINUTE, SECOND))
        record = recorded(self.a_promise(data, id), data.draw(STATES), at=at, began=began)
        return TaskRecordStep(id, self.version(data, id), record)

    def send(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "pending", "acquired", "suspended", "halted")
        return message(id, data.draw(NAMES), data.draw(KEYS))

    def receive(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        key, name, place = data.draw(KEYS), data.draw(NAMES), f"{id}.{data.draw(st.integers(1, 2))}"
        return replace(
            receive(id, key, name, place=place), version=self.version(data, id), timed=data.draw(st.booleans())
        )

    def publish(self, data: st.DataObject) -> TaskPublish:
        id = self.a_task(data, "acquired")
        place, at = f"{id}.{data.draw(st.integers(1, 2))}", self.now + data.draw(LATER)
        return replace(publish(id, place=place), version=self.version(data, id), timeout_at=max(0, at))

    def put_state(self, data: st.DataObject) -> Request:
        return StatePut(self.publish(data))

    def heartbeat(self, data: st.DataObject) -> Request:
        ids = [self.a_task(data, "acquired") for _ in range(data.draw(st.integers(0, 2)))]
        return heartbeat(*((id, self.version(data, id)) for id in ids), pid=data.draw(PIDS))

    def extend(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        return TaskExtend(id, self.version(data, id), data.draw(PIDS))

    def verify(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        return TaskVerify(id, self.version(data, id), data.draw(st.booleans()))

    def halt(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "pending", "acquired", "suspended")
        version = self.version(data, id) if data.draw(st.booleans()) else None
        return TaskHalt(id, version, data.draw(st.none() | st.just("because")))

    def resume_halted(self, data: st.DataObject) -> Request:
        return TaskContinue(self.a_task(data, "halted"))

    def repin(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "pending", "acquired", "suspended", "halted")
        pinned = data.draw(st.just("") | PINS)
        return TaskRepin(id, pinned, unpin=not pinned and data.draw(st.booleans()))

    def continue_as(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "acquired")
        record = self.memory.store.record(id)
        current = 1 if record is None or record.generation is None else record.generation
        generation = max(2, current + data.draw(st.sampled_from([1] * 6 + [0, -1, 2])))
        return TaskContinueAs(id, self.version(data, id), generation)

    def resume(self, data: st.DataObject) -> Request:
        id = self.a_task(data, "suspended", "acquired", "pending")
        version = data.draw(st.sampled_from([self.version(data, id), None]))
        return TaskResume(id, version, self.a_promise(data, id))

    def mark_delivered(self, data: st.DataObject) -> Request:
        return PromiseDelivered(data.draw(IDS))

    def create_schedule(self, data: st.DataObject) -> Request:
        cron = data.draw(st.sampled_from(["*/15 * * * *", "0 * * * *"]))
        request = schedule("s", cron, timeout=data.draw(st.sampled_from([0, SECOND, HOUR])))
        return replace(
            request,
            catch_up=data.draw(st.sampled_from(get_args(CatchUp))),
            overlap=data.draw(st.sampled_from(get_args(Overlap))),
            timezone=data.draw(st.sampled_from([None, "America/New_York"])),
        )

    def get_schedule(self, _: st.DataObject) -> Request:
        return ScheduleGet("s")

    def delete_schedule(self, _: st.DataObject) -> Request:
        return ScheduleDelete("s")

    def pause_schedule(self, _: st.DataObject) -> Request:
        return SchedulePause("s")

    def resume_schedule(self, _: st.DataObject) -> Request:
        return ScheduleResume("s")

    def trigger_schedule(self, _: st.DataObject) -> Request:
        return ScheduleTrigger("s")

    def wake(self, data: st.DataObject) -> Request:
        return PromiseWake(data.draw(IDS))

    def fire(self, _: st.DataObject) -> Request:
        return ScheduleFire("s")

    # Time, deliveries and workers.

    @rule(milliseconds=st.sampled_from([1, SECOND, 30 * SECOND, MINUTE, 5 * MINUTE]))
    def pass_time(self, milliseconds: int) -> None:
        for side in self.sides:
            side.clock.advance(milliseconds)

    @rule()
    def sweep_at_the_next_wake(self) -> None:
        wake_at = self.memory.store.next_wake_at()
        for side in self.sides:
            side.clock.advance_to(wake_at or 0)
        due = self.memory.store.due(self.now)
        assert self.dynamo.store.due(self.now) == due
        assert self.sqlite.store.due(self.now) == due
        assert self.sqlite.store.next_wake_at() == wake_at
        for kind, id in due:
            self.all(PromiseWake(id) if kind == "promise" else ScheduleFire(id))

    @rule(position=st.integers(0, 20), fate=st.sampled_from(["once", "once", "once", "twice", "lost"]))
    def deliver(self, position: int, fate: str) -> None:
        for side in self.sides:
            if side.backlog:
                change = side.backlog.pop(position % len(side.backlog))
                for _ in range({"once": 1, "twice": 2, "lost": 0}[fate]):
                    deliver(change, side)

    @rule()
    def deliver_everything(self) -> None:
        for side in self.sides:
            while side.backlog:
                deliver(side.backlog.pop(0), side)

    @rule()
    def let_another_worker(self) -> None:
        self.dynamo.stores.append(self.dynamo.stores.pop(0))

    @rule(id=IDS, separator=st.sampled_from([".", ".2+", ".3+"]))
    def preload(self, id: str, separator: str) -> None:
        found = [
            sorted(store.children(id, separator), key=lambda promise: promise.id)
            for store in (self.memory.store, self.dynamo.store, self.sqlite.store)
        ]
        assert found[0] == found[1] == found[2]

    @invariant()
    def the_same_is_stored(self) -> None:
        assert self.dynamo.entries == self.memory.entries == self.sqlite.entries

    @invariant()
    def the_same_was_reached_and_remains(self) -> None:
        assert self.dynamo.reached == self.memory.reached == self.sqlite.reached
        assert self.dynamo.backlog == self.memory.backlog == self.sqlite.backlog

    @invariant()
    def nobody_had_to_wait(self) -> None:
        assert self.dynamo.clock.now() == self.memory.clock.now()


def test_substrates_answer_and_store_the_same(dynamo: Any) -> None:
    run_state_machine_as_test(
        cast("type[Lockstep]", lambda: Lockstep(Table(dynamo, streaming=False))),  # a factory will do
        settings=settings(
            max_examples=examples(8, in_ci=60), stateful_step_count=50, deadline=None, suppress_health_check=ANY_HEALTH
        ),
    )
