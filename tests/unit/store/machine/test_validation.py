"""Requests that are refused before a record is read, and the reason in the answer (docs/rules.md V1 to V11)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from resonate_store.machine.validation import problem_with
from resonate_store.model.execution_requests import TaskCopy
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import (
    PromiseDelivered,
    PromiseWake,
    Request,
    TaskContinue,
    TaskExtend,
    TaskFork,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskReference,
    TaskRegister,
    TaskResume,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.model.schedule_requests import (
    ScheduleBackfill,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import DELAY, FORKED_FROM, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER
from tests.support.build import (
    DAY,
    TARGETED,
    acquire,
    callback,
    create,
    create_task,
    delayed,
    fence,
    fulfill,
    get,
    heartbeat,
    held,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
)
from tests.support.substrates import T0, World


def fork(id: str, tags: dict[str, str] | None = None) -> TaskFork:
    return TaskFork(id, T0 + DAY, tags={**TARGETED, FORKED_FROM: "q"} if tags is None else tags)


def copy(task: str, **fields: Any) -> TaskCopy:
    record = PromiseView(
        id=f"{task}.1",
        state="resolved",
        param=Value(),
        value=Value(),
        tags={ORIGIN: task},
        timeout_at=T0,
        created_at=T0,
        settled_at=T0,
    )
    return TaskCopy(task, replace(record, **fields))


REFUSED: list[tuple[Request, tuple[str, ...]]] = [
    # promises
    (create("p", at=-1), ("timeout", "-1")),
    (create("p", {"": "blue"}), ("tag", "empty name", "'blue'")),
    (create("p", at=2**53 + 1), ("timeout", str(2**53 + 1), f"the last is {2**53}")),
    (create("p", {"color\ud800": "blue"}), ("tag", "not valid Unicode")),
    (create("p", {ORIGIN: ""}), ("the id in the tag resonate:origin is empty",)),
    (create("p", {PARENT: "q\0"}), ("the id in the tag resonate:parent", "NUL")),
    (create("p", {PREFIX: "q" * 1001}), ("the id in the tag resonate:prefix is 1001 bytes long",)),
    (create("p", {"color": "\ud800"}), ("tag", "'color'", "not valid Unicode")),
    (create("p", param="\ud800"), ("data of the param", "not valid Unicode")),
    (replace(create("p"), param=Value({"": "json"}, "1")), ("header of the param", "empty name")),
    (settle("p", data="\ud800"), ("data of the value", "not valid Unicode")),
    (replace(settle("p"), value=Value({"": "json"})), ("header of the value", "empty name")),
    (recorded("p", data="\ud800"), ("data of the value", "not valid Unicode")),
    (create("p", {TARGET: "worker"}), ("Invalid resonate:target", "'worker'", "poll://any@group")),
    (create("p", {TARGET: ""}), ("Invalid resonate:target", "''")),
    (create("p", {TARGET: "local://any@g"}), ("Invalid resonate:target", "local://any@g")),
    (create("p", {TARGET: "poll://uni@g"}), ("Invalid resonate:target", "poll://uni@group/pid")),
    (create_task("p", {**TARGETED, TIMER: "true"}), ("'p'", TIMER)),
    (create("p", {DELAY: str(T0)}), (DELAY, TARGET)),
    (create("p", {**TARGETED, DELAY: "soon"}), (DELAY, "milliseconds", "'soon'")),
    (create("p", {**TARGETED, DELAY: "-5"}), (DELAY, "'-5'")),
    (create("p", {**TARGETED, DELAY: "1.5"}), (DELAY, "'1.5'")),
    (create("p", {**TARGETED, DELAY: ""}), (DELAY, "''")),
    (create("p", {**TARGETED, DELAY: "²"}), (DELAY, "'²'")),
    (create("p", {**TARGETED, DELAY: "9" * 5000}), (DELAY, "99999")),
    (create("p", delayed(T0 + DAY)), (DELAY, str(T0 + DAY), "timeout")),
    (create("p", delayed(T0 + DAY + 1)), (DELAY, str(T0 + DAY + 1), str(T0 + DAY))),
    (settle("p", "pending"), ("resolved, rejected, rejected_canceled", "'pending'")),  # type: ignore[arg-type]
    (settle("p", "rejected_timedout"), ("'rejected_timedout'",)),  # type: ignore[arg-type]
    (settle("p", "fulfilled"), ("'fulfilled'",)),  # type: ignore[arg-type]
    (settle("p", ""), ("''",)),  # type: ignore[arg-type]
    (callback("p", "p"), ("'p'", "await itself")),
    (listen("p", "somewhere"), ("Invalid listener address", "'somewhere'")),
    (listen("p", "poll://default"), ("Invalid listener address", "poll://default")),
    (recorded("p", at=-1), ("timeout", "-1")),
    (recorded("p", "rejected_timedout"), ("'rejected_timedout'",)),  # type: ignore[arg-type]
    (replace(recorded("p"), tags={}), (f"{SCOPE}=local",)),
    (replace(recorded("p"), tags={SCOPE: "local", "": "x"}), ("empty name",)),
    # tasks
    (create_task("p", {}), ("task.create", TARGET)),
    (create_task("p", delayed(T0 + 1)), ("task.create", DELAY)),
    (create_task("p", {TARGET: "worker"}), ("Invalid resonate:target", "'worker'")),
    (create_task("p", at=-1), ("timeout", "-1")),
    (create_task("p", ttl=0), ("ttl", "0")),
    (replace(create_task("p"), pid=""), ("pid",)),
    (acquire("p", -1), ("version", "-1")),
    (acquire("p", ttl=0), ("ttl", "0")),
    (acquire("p", ttl=-1), ("ttl", "-1")),
    (acquire("p", pid=""), ("pid",)),
    (replace(fulfill("p"), settle=settle("q")), ("'p'", "'q'")),
    (fulfill("p", 1, "pending"), ("'pending'",)),  # type: ignore[arg-type]
    (suspend("p"), ("'p'", "at least one")),
    (suspend("p", "a", "p"), ("'p'", "its own")),
    (suspend("p", "a", version=-1), ("version", "-1")),
    (fence("p", create("p")), ("'p'", "another promise")),
    (fence("p", settle("p")), ("'p'", "another promise")),
    (fence("p", create("p.1", at=-1)), ("timeout", "-1")),
    (fence("p", settle("p.1", "pending")), ("'pending'",)),  # type: ignore[arg-type]
    # forks
    (fork("p", {FORKED_FROM: "q"}), ("fork", TARGET)),
    (fork("p", {**TARGETED, FORKED_FROM: "q", TIMER: "true"}), ("fork", TIMER)),
    (fork("p", TARGETED), ("tag it", FORKED_FROM)),
    (replace(fork("p"), generation=1), ("generation", "2 or more", "1")),
    (copy("p", id="q"), ("'q'", "not below the task 'p'")),
    (copy("p", tags={ORIGIN: "q"}), (f"tag it {ORIGIN}=p",)),
    (copy("p", settled_at=None), ("settledAt", "resolved")),
    (copy("p", state="pending"), ("settledAt", "pending")),
    (copy("p", created_at=-1), ("createdAt", "-1")),
    (copy("p", state="pending", settled_at=None, tags={ORIGIN: "p", **TARGETED}), ("pending copy", TARGET)),
    (copy("p", value=Value(data="\ud800")), ("data of the value",)),
    # schedules
    (ScheduleUpdate("s", "61 * * * *", "x", 1, promise_tags=TARGETED), ("minute field '61'",)),
    (ScheduleBackfill("s", 2, 1), ("later one", "2 to 1")),
    (ScheduleBackfill("s", 1, 2, "queue"), ("overlap policy", "'queue'")),  # type: ignore[arg-type]
    (schedule("s", promise_id=""), ("template", "empty", "{{.timestamp}}")),
    (schedule("s", timeout=-1), ("promise timeout", "-1")),
    (schedule("s", tags={}), ("promiseTags must include a resonate:target tag",)),
    (schedule("s", tags={TARGET: "worker"}), ("Invalid resonate:target", "'worker'")),
    (schedule("s", tags={**TARGETED, TIMER: "true"}), ("'s'", TIMER)),
    (schedule("s", tags=delayed(T0)), (DELAY,)),
    (schedule("s", tags={**TARGETED, "": "x"}), ("empty name",)),
    (replace(schedule("s"), promise_param=Value({"": "x"})), ("header of the promiseParam", "empty name")),
    (schedule("s", "every minute"), ("Invalid cron expression", "'every minute'")),
    (schedule("s", "61 * * * *"), ("Invalid cron expression", "minute field '61'")),
    (replace(schedule("s"), timezone="Mars/Olympus"), ("unknown time zone 'Mars/Olympus'",)),
    (replace(schedule("s"), catch_up="some"), ("catch-up policy", "all, latest, none", "'some'")),
    (replace(schedule("s"), overlap="queue"), ("overlap policy", "allow, skip", "'queue'")),
    (replace(schedule("s"), description="\ud800"), ("description", "Unicode")),
    (replace(schedule("s"), tags={"": "x"}), ("empty name",)),
    (schedule("s", promise_id="{{.id}}\0"), ("promise id", "NUL")),
    (schedule("s" * 900, promise_id="{{.id}}{{.id}}"), ("promise id", "1800", "1000")),
    (schedule("s", promise_id="x" * 988 + "{{.timestamp}}"), ("promise id", "1001")),
]


def test_validation_error_names_the_problem(subtests: pytest.Subtests) -> None:
    for request, named in REFUSED:
        with subtests.test(request=request):
            problem = problem_with(request)
            assert problem is not None
            assert [part for part in named if part not in problem] == []


def test_invalid_request_is_400_and_writes_nothing(store: World, subtests: pytest.Subtests) -> None:
    held(store, "p")
    before = store.stored("p")
    for request, _ in REFUSED:
        with subtests.test(request=request):
            response = store.apply(request)
            assert (response.status, response.error) == (400, problem_with(request))
            assert [store.record("p"), *map(store.record, ("q", "p.1", "a"))] == [before, None, None, None]
            assert store.apply(ScheduleGet("s")).status == 404
            assert (store.messages(), store.armed, store.fired) == ([], [], [])


BAD = {"": "empty", "a\0b": "NUL", "x" * 1001: "1001 bytes", "é" * 501: "1002 bytes", "\ud800": "not valid Unicode"}


def requests_with(id: str) -> list[tuple[Request, str]]:
    """Return requests that name this id in any place, with the name of the place."""
    return [
        (get(id), "id"),
        (create(id), "id"),
        (settle(id), "id"),
        (recorded(id), "id"),
        (callback(id, "w"), "awaited id"),
        (callback("p", id), "awaiter id"),
        (listen(id), "awaited id"),
        (TaskGet(id), "id"),
        (create_task(id), "id"),
        (acquire(id), "id"),
        (release(id), "id"),
        (fulfill(id), "id"),
        (suspend(id, "a"), "id"),
        (suspend("w", "a", id), "awaited id"),
        (fence(id, create("w.1")), "id"),
        (fence("w", create(id)), "id"),
        (fence("w", settle(id)), "id"),
        (heartbeat(("w", 1), (id, 1)), "id"),
        (TaskHalt(id), "id"),
        (TaskContinue(id), "id"),
        (fork(id), "id"),
        (copy(id), "id"),
        (schedule(id, promise_id="x"), "schedule id"),
        (ScheduleBackfill(id, 1, 2), "schedule id"),
        (ScheduleGet(id), "schedule id"),
        (ScheduleDelete(id), "schedule id"),
        (ScheduleFire(id), "schedule id"),
        (SchedulePause(id), "schedule id"),
        (ScheduleResume(id), "schedule id"),
        (ScheduleTrigger(id), "schedule id"),
        (TaskRegister(id, 1, ("a",)), "id"),
        (TaskSuspendRegistered(id, 1), "id"),
        (TaskExtend(id, 1, "p1"), "id"),
        (TaskVerify(id, 1), "id"),
        (TaskResume(id, 1, "a"), "id"),
        (PromiseDelivered(id), "id"),
        (PromiseWake(id), "id"),
    ]


def test_invalid_id_is_refused_in_each_place(subtests: pytest.Subtests) -> None:
    for id, problem_of_id in BAD.items():
        for request, what in requests_with(id):
            with subtests.test(problem_of_id, kind=request.kind, what=what):
                problem = problem_with(request)
                assert problem is not None
                assert problem.startswith(f"the {what} ")
                assert problem_of_id in problem


def test_valid_request_has_no_problem(subtests: pytest.Subtests) -> None:
    """Including what the official server refuses (docs/compatibility.md): dots, other origins, no tasks."""
    for request in [
        create("p"),
        create("p", at=0),
        create("p", at=2**53),
        create("p", {"resonate:origin": "a.b.c", "resonate:prefix": "x.y", "resonate:parent": "elsewhere"}),
        create("p", {TIMER: "true"}),
        create("p", {**TARGETED, TIMER: "false"}),
        create("p", delayed(0)),
        create("p", delayed(T0 + DAY - 1)),
        create_task("p", ttl=1),
        acquire("p", 0, ttl=1),
        settle("p"),
        recorded("p"),
        callback("a.1", "b.2"),
        suspend("w.1", "v.1", "w.2", "v.1"),
        TaskHeartbeat("p1", ()),
        TaskHeartbeat("p1", (TaskReference("a", 1), TaskReference("b", 1))),
        TaskHalt("p"),
        TaskHalt("p", 3, "because"),
        fork("p"),
        copy("p"),
        copy("p", state="pending", settled_at=None),
        copy("p", state="rejected_timedout", tags={ORIGIN: "p", **TARGETED}),
        ScheduleBackfill("s", 5, 5),
        schedule("a.b"),
        schedule("s", timeout=0),
        schedule("s", promise_id="x" * 987 + "{{.timestamp}}"),
    ]:
        with subtests.test(request=request):
            assert problem_with(request) is None


def test_validation_precedes_the_lookup(store: World) -> None:
    """docs/protocol.md 1.5: a malformed request is 400 whether or not what it names exists."""
    assert store.apply(suspend("nowhere")).status == 400
    assert store.apply(acquire("nowhere", ttl=0)).status == 400
    assert store.apply(callback("nowhere", "nowhere")).status == 400
