"""The table of task transitions and the machine agree, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from resonate_store.machine import NeedChildren, NeedRecords, NeedSchedule, decide
from resonate_store.machine.draft import Need
from resonate_store.machine.tasks import MAX_ATTEMPTS
from resonate_store.machine.transitions import EVENTS, STATES, TRANSITIONS, TaskEvent, with_section
from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionDelete,
    ExecutionGet,
    ExecutionPauses,
    ExecutionRetry,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
)
from resonate_store.model.ids import parent
from resonate_store.model.message_requests import StatePut, TaskPublish
from resonate_store.model.records import Cancellation, PromiseView, Record, ScheduleRecord, TaskRecord, TaskState, Value
from resonate_store.model.requests import (
    AwaitedCreate,
    ContinueWithArguments,
    FulfillAndTakeOver,
    PromiseAwait,
    PromiseDelivered,
    PromiseSettle,
    PromiseWake,
    Request,
    SettleAndResume,
    TaskContinue,
    TaskExtend,
    TaskFork,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRecordStep,
    TaskRegister,
    TaskResume,
    TaskSuspend,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.model.schedule_requests import ScheduleFire
from resonate_store.model.tags import FORKED_FROM, ORIGIN
from tests.support.build import (
    DAY,
    OUTSIDE,
    SECOND,
    TARGETED,
    TTL,
    acquire,
    callback,
    create,
    create_task,
    fence,
    fulfill,
    get,
    listen,
    message,
    publish,
    receive,
    recorded,
    release,
    settle,
    suspend,
)
from tests.support.substrates import T0

RULES = Path(__file__).parents[4] / "docs" / "rules.md"


class Scene:
    """A task `t` in one state, and beside it: `a` is pending, `b` settled, `other` a held task, `s` a schedule.

    Attributes:
        now: the instant of the next request.
        version: the version of the task when the scene begins, 0 without a task.
        kinds: the requests that were made of the machine.
    """

    def __init__(self, state: TaskState | None) -> None:
        self.now = T0
        self.kinds: set[type] = set()
        self._records: dict[str, Record] = {}
        self._schedule = ScheduleRecord("s", "* * * * *", "t", DAY, T0, T0, promise_tags=TARGETED)
        later = T0 + 2 * DAY
        self.apply(create("a", OUTSIDE, at=later), create("b", OUTSIDE), settle("b"), create_task("other", at=later))
        if state == "pending":
            self.apply(create("t", TARGETED))
        elif state is not None:
            self.apply(create_task("t"))
        if state == "suspended":
            self.apply(suspend("t", "a"))
        elif state == "halted":
            self.apply(TaskHalt("t"))
        elif state == "fulfilled":
            self.apply(fulfill("t"))
        assert self.state == state
        self.version = self.task.version if self.task else 0
        self.kinds.clear()

    @property
    def task(self) -> TaskRecord | None:
        record = self._records.get("t")
        return record.task if record is not None else None

    @property
    def state(self) -> TaskState | None:
        return self.task.state if self.task else None

    def change(self, **fields: Any) -> None:
        """Set fields of the task, if there is one."""
        if self.task is not None:
            self._records["t"] = replace(self._records["t"], task=replace(self.task, **fields))

    def cancel(self) -> None:
        """Note a cancellation in the record of a task that has not ended."""
        record = self._records.get("t")
        if record is not None and record.pending:
            self._records["t"] = replace(record, cancel=Cancellation(self.now))

    def apply(self, *requests: Request) -> None:
        for request in requests:
            self.kinds.add(type(request))
            for _, after in decide(request, self.now, self._fetch).changes:
                if isinstance(after, Record):
                    self._records[after.id] = after

    def _fetch(self, need: Need) -> Any:
        match need:
            case NeedRecords():
                return tuple(self._records.get(id) for id in need.ids)
            case NeedChildren():
                return tuple(record for record in self._records.values() if parent(record.id) == need.id)
            case NeedSchedule():
                return self._schedule
            case _:
                raise AssertionError(need)


Drive = Callable[[Scene], None]


def lease_expiry(scene: Scene) -> None:
    scene.now = max(scene.now, T0 + TTL)
    scene.apply(PromiseWake("t"))


def offer(scene: Scene) -> None:
    scene.now = max(scene.now, T0 + 30 * SECOND)
    scene.apply(PromiseWake("t"))


def last(drive: Drive) -> Drive:
    """The attempt that `drive` ends is the last one."""

    def driven(scene: Scene) -> None:
        scene.change(attempts=MAX_ATTEMPTS - 1)
        drive(scene)

    return driven


def resumed(drive: Drive) -> Drive:
    """A resume is buffered before `drive`."""

    def driven(scene: Scene) -> None:
        scene.change(resumes=("b",))
        drive(scene)

    return driven


def cancelled(drive: Drive) -> Drive:
    """The execution is cancelled before `drive`."""

    def driven(scene: Scene) -> None:
        scene.cancel()
        drive(scene)

    return driven


def late(drive: Drive) -> Drive:
    """The deadline of the promise passes before `drive`."""

    def driven(scene: Scene) -> None:
        scene.now = T0 + DAY
        drive(scene)

    return driven


def explicitly_awaited(scene: Scene) -> None:
    scene.apply(callback("a", "t"), settle("a"), TaskResume("t", None, "a"))


def fire(scene: Scene) -> None:
    scene.apply(ScheduleFire("s"))


def register_singly(scene: Scene) -> None:
    fields = ("c", T0 + 2 * DAY)
    scene.apply(AwaitedCreate(*fields, awaiter="t", version=scene.version), PromiseAwait("a", "t", scene.version))


def send(scene: Scene) -> None:
    scene.change(receives=("m",))
    scene.apply(message("t"))


def take(scene: Scene) -> None:
    scene.apply(message("t"), receive("t", version=scene.version))


def put_state(scene: Scene) -> None:
    scene.apply(StatePut(publish("t", version=scene.version)))


def suspend_unseen(scene: Scene) -> None:
    scene.apply(message("t"), TaskSuspend("t", scene.version, (), receives=("m",)))


def retry(scene: Scene) -> None:
    scene.change(offers=0, attempts=1)
    scene.apply(ExecutionRetry("t"), ExecutionPauses("t"))


def give_up(scene: Scene) -> None:
    scene.apply(release("t", scene.version))


def _fork_of(id: str) -> TaskFork:
    return TaskFork(id, T0 + DAY, tags={**TARGETED, FORKED_FROM: "source"})


COPY = PromiseView(
    id="t.1",
    state="resolved",
    param=Value(),
    value=Value(),
    tags={ORIGIN: "t"},
    timeout_at=T0 + DAY,
    created_at=T0,
    settled_at=T0,
)


DRIVES: dict[TaskEvent, tuple[Drive, ...]] = {
    "create": (
        lambda scene: scene.apply(create("t", TARGETED)),
        fire,
        lambda scene: scene.apply(fence("other", create("t", TARGETED))),
    ),
    "create acquired": (lambda scene: scene.apply(create_task("t")),),
    "fork": (lambda scene: scene.apply(_fork_of("t")),),
    "acquire": (lambda scene: scene.apply(acquire("t", scene.version)),),
    "release": (
        give_up,
        lambda scene: scene.apply(release("t", scene.version, handover=True)),
        last(lambda scene: scene.apply(release("t", scene.version, handover=True))),
    ),
    "suspend": (
        lambda scene: scene.apply(suspend("t", "a", version=scene.version)),
        lambda scene: scene.apply(TaskSuspendRegistered("t", scene.version)),
    ),
    "fulfill": (
        lambda scene: scene.apply(fulfill("t", scene.version)),
        lambda scene: scene.apply(FulfillAndTakeOver("t", scene.version, PromiseSettle("t", "resolved"))),
    ),
    "settle": (
        lambda scene: scene.apply(settle("t")),
        lambda scene: scene.apply(settle("t", "rejected_canceled")),
        lambda scene: scene.apply(fence("other", settle("t"))),
        lambda scene: scene.apply(PromiseCancel("t", force=True)),
    ),
    "lease expiry": (lease_expiry,),
    "last attempt": (last(give_up), last(lease_expiry)),
    "resume": (
        lambda scene: scene.apply(settle("a"), TaskResume("t", scene.version, "a")),
        explicitly_awaited,
        lambda scene: scene.apply(SettleAndResume("a", "resolved"), TaskResume("t", scene.version, "a")),
    ),
    "cancel": (lambda scene: scene.apply(PromiseCancel("t")),),
    "retry": (retry,),
    "next generation": (
        lambda scene: scene.apply(TaskContinueAs("t", scene.version, 2)),
        lambda scene: scene.apply(ContinueWithArguments("t", scene.version, 2, recorded("t.2+0"))),
    ),
    "message": (send,),
    "halt": (lambda scene: scene.apply(TaskHalt("t")),),
    "halt held": (lambda scene: scene.apply(TaskHalt("t", scene.version)),),
    "continue": (lambda scene: scene.apply(TaskContinue("t")),),
    "repin": (
        lambda scene: scene.apply(TaskRepin("t")),
        lambda scene: scene.apply(TaskRepin("t", "lambda://worker:7")),
        lambda scene: scene.apply(TaskRepin("t", unpin=True)),
    ),
    "redirect": (
        lambda scene: scene.apply(suspend("t", "a", "b", version=scene.version)),
        resumed(lambda scene: scene.apply(suspend("t", "a", version=scene.version))),
        resumed(lambda scene: scene.apply(TaskSuspendRegistered("t", scene.version))),
        cancelled(lambda scene: scene.apply(suspend("t", "a", version=scene.version, cancel_seen=False))),
        cancelled(lambda scene: scene.apply(TaskSuspendRegistered("t", scene.version, cancel_seen=False))),
        suspend_unseen,
    ),
    "register": (lambda scene: scene.apply(TaskRegister("t", scene.version, ("a",))),),
    "extend": (lambda scene: scene.apply(TaskExtend("t", scene.version, "p1")),),
    "fence": (
        lambda scene: scene.apply(fence("t", create("c"), scene.version)),
        lambda scene: scene.apply(fence("t", settle("a"), scene.version)),
    ),
    "verify": (lambda scene: scene.apply(TaskVerify("t", scene.version)),),
    "offer": (offer,),
    "record": (lambda scene: scene.apply(recorded("t")),),
    "take": (take,),
    "publish": (put_state,),
    "copy": (lambda scene: scene.apply(TaskCopy("t", COPY)),),
    "deliver": (lambda scene: scene.apply(PromiseDelivered("t")),),
    "await": (
        lambda scene: scene.apply(callback("t", "other")),
        lambda scene: scene.apply(callback("a", "t")),
        lambda scene: scene.apply(listen("t")),
        register_singly,
    ),
    "read": (lambda scene: scene.apply(get("t")), lambda scene: scene.apply(TaskGet("t"), ExecutionGet("t"))),
}
"""How each event is brought about, whatever state the task is in."""


def drives_of(state: TaskState | None, event: TaskEvent) -> tuple[Drive, ...]:
    if event != "time out":
        return DRIVES[event]
    if state is None:
        return tuple(map(late, DRIVES["create"] + DRIVES["create acquired"] + DRIVES["fork"]))
    # Any request that reads a promise settles it if it is due; only `verify` reads too little of it.
    elsewhere = (fire, register_singly, put_state)
    return tuple(late(drive) for each in DRIVES if each != "verify" for drive in DRIVES[each] if drive not in elsewhere)


def test_transitions_of_the_machine_are_those_of_the_table(subtests: pytest.Subtests) -> None:
    for state, event in product(STATES, EVENTS):
        with subtests.test(state=state, event=event):
            drives = drives_of(state, event)
            assert drives
            for drive in drives:
                scene = Scene(state)
                drive(scene)
                assert scene.state == TRANSITIONS.get((state, event), state)


def test_transition_is_not_made_at_another_version(subtests: pytest.Subtests) -> None:
    events: tuple[TaskEvent, ...] = (
        *("acquire", "release", "suspend", "fulfill", "last attempt"),
        *("halt held", "redirect", "register", "extend", "next generation", "take"),
    )
    for state, event in product(STATES, events):
        with subtests.test(state=state, event=event):
            for drive in (give_up,) if event == "last attempt" else DRIVES[event]:
                scene = Scene(state)
                scene.version += 1
                drive(scene)
                assert scene.state == state


def test_transition_table_names_only_states_and_events() -> None:
    assert set(EVENTS) == set(get_args(TaskEvent)) == {*DRIVES, "time out"}
    assert {state for state, _ in TRANSITIONS} <= set(STATES) == {None, *get_args(TaskState)}
    assert all(state != after for (state, _), after in TRANSITIONS.items())


def test_transition_events_include_each_request_about_promises_and_tasks() -> None:
    scene = Scene("acquired")
    for drives in DRIVES.values():
        for drive in drives:
            drive(scene)

    searches = {kind for kind in get_args(Request) if kind.kind.endswith(".search")}
    schedules = {kind for kind in get_args(Request) if kind.kind.startswith("schedule.")}

    # A heartbeat is carried out as one `TaskExtend` for each task, and these two as several other requests.
    split = {TaskHeartbeat, TaskRecordStep, TaskPublish}
    # A count is about no record, and a deletion is an operation of each store.
    other = {ExecutionCount, ExecutionDelete}
    assert scene.kinds | searches | schedules | split | other == set(get_args(Request))


def test_transition_table_is_in_the_rules() -> None:
    rules = RULES.read_text(encoding="utf-8")
    assert rules == with_section(rules), "run: python -m resonate_store.machine.transitions docs/rules.md"
