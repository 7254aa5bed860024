"""Delivery by the process that wrote (docs/rules.md W14 to W21)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from resonate.testing.faults import Killed
from resonate_store.aws.errors import AwsUnreachable
from resonate_store.delivery.environment import delivery_of
from resonate_store.delivery.messages import LambdaMessages
from resonate_store.delivery.timers import QueueTimers
from resonate_store.delivery.writer import Delivery
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import Holder
from resonate_store.model.requests import (
    AwaitedCreate,
    FulfillAndTakeOver,
    PromiseAwait,
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    PromiseWake,
    Request,
    Response,
    TaskAcquire,
    TaskFulfill,
    TaskRelease,
    TaskSuspend,
    TaskSuspendRegistered,
)
from resonate_store.model.tags import ORIGIN, TARGET, TIMER
from resonate_store.settings import SettingsError
from tests.support.aws_doubles import Lambda, Sqs, refusal
from tests.support.dynamo import Table
from tests.support.hypothesis_settings import examples

HOUR = 3_600_000
WORKER = "lambda://worker"
PUSHED = "https://worker.example.com/"


class World:
    """A table, and a store that delivers to stand-ins for Lambda and SQS."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.clock = ManualClock()
        self.functions, self.sqs = Lambda(), Sqs()
        self.delivery = Delivery(
            QueueTimers(self.sqs, "https://sqs/timers", self.clock),
            LambdaMessages(self.functions, {"default": WORKER, "pushed": PUSHED}),
            retention_s=60,
        )
        self.store: DynamoStore = table.store(self.clock).delivered_by(self.delivery)

    def do(self, *requests: Request) -> Response:
        response = Response()
        for request in requests:
            response = self.store.apply(request)
            assert response.status in (200, 300), response
        return response

    def create(self, id: str, target: str | None = WORKER, after: int = HOUR, **tags: str) -> PromiseCreate:
        named = {TARGET: target} if target else {}
        return PromiseCreate(id, self.clock.now() + after, tags={**named, **tags})

    def held(self, id: str = "w", after: int = 10 * HOUR) -> None:
        """Create a task, and acquire it at version 1."""
        self.do(self.create(id, after=after), TaskAcquire(id, 0, "p", 60_000))
        self.functions.invoked.clear()

    def suspended(self, id: str = "w", awaited: str = "w.1") -> None:
        """Suspend a task on a promise below it, whose callback was registered when it was created."""
        self.held(id)
        self.do(self.awaited(awaited, id), TaskSuspendRegistered(id, 1, self.clock.now() + HOUR))

    def awaited(self, id: str, awaiter: str = "w", version: int = 1, **tags: str) -> AwaitedCreate:
        return AwaitedCreate(id, self.clock.now() + HOUR, tags={ORIGIN: "w", **tags}, awaiter=awaiter, version=version)

    def announced(self, id: str) -> bool:
        return "effects" in self.table.item(id)

    def invoked(self) -> list[tuple[str, int]]:
        """The tasks that were offered to workers, with their versions."""
        tasks = [event["data"]["task"] for _, _, event in self.functions.invoked]
        return [(task["id"], task["version"]) for task in tasks]

    def state(self, id: str) -> tuple[str, int]:
        record = self.store.record(id)
        assert record is not None
        assert record.task is not None
        return record.task.state, record.task.version


@pytest.fixture
def world(table: Table) -> World:
    return World(table)


def test_writer_invokes_worker_and_announces_nothing(world: World) -> None:
    world.do(world.create("w", target="poll://any@default"))

    assert (world.invoked(), world.announced("w")) == ([("w", 0)], False)


@pytest.mark.parametrize(
    ("target", "after"),
    [("poll://any@pushed", HOUR), (None, 20 * HOUR)],
    ids=["push over HTTP", "timer beyond the queue"],
)
def test_writer_announces_what_its_sinks_do_not_reach(world: World, target: str | None, after: int) -> None:
    world.do(world.create("w", target, after, **({} if target else {TIMER: "true"})))

    assert (world.invoked(), world.sqs.sent, world.announced("w")) == ([], [], True)


def test_writer_arms_near_timer_on_the_queue(world: World) -> None:
    world.do(world.create("t", None, 60_000, **{TIMER: "true"}))

    assert [(body["id"], delay) for _, body, delay in world.sqs.sent] == [("t", 60)]
    assert not world.announced("t")


def test_settlement_resumes_invokes_and_marks_before_it_returns(world: World) -> None:
    world.suspended()
    world.do(PromiseSettle("w.1", "resolved"))

    assert (world.invoked(), world.state("w")) == ([("w", 1)], ("pending", 1))
    record = world.store.record("w.1")
    assert record is not None
    assert (record.delivered, record.wake_at) == (True, None)


def test_deep_chain_of_callers_times_out_at_once(world: World) -> None:
    depth = examples(40, in_ci=120)
    ids = ["w" + ".1" * level for level in range(depth)]
    for id, below in itertools.pairwise(ids):
        world.do(world.create(id, WORKER, HOUR, **{ORIGIN: "w"}), TaskAcquire(id, 0, "p", 60_000))
        world.do(world.create(below, WORKER, HOUR, **{ORIGIN: "w"}), TaskSuspend(id, 1, (below,)))
    world.clock.advance(HOUR)
    world.do(PromiseWake(ids[-1]))

    states = {world.store.record(id).state for id in ids}  # pyright: ignore[reportOptionalMemberAccess]
    assert states == {"rejected_timedout"}


def test_listener_is_left_to_the_dispatcher(world: World) -> None:
    world.do(world.create("p", None), PromiseRegisterListener("p", PUSHED), PromiseSettle("p", "resolved"))

    assert world.announced("p")


def test_denied_address_is_announced_and_not_tried_again(world: World) -> None:
    world.functions.refuses = refusal("AccessDeniedException", "Invoke")
    world.do(world.create("a"))
    touched = world.store.record("a")
    world.functions.refuses = AssertionError("it is not tried again")
    world.do(world.create("b"))

    assert touched is not None
    assert (touched.rev, world.announced("a"), world.announced("b")) == (1, True, True)


def test_failed_invocation_is_left_to_the_next_offer(world: World) -> None:
    world.functions.refuses = refusal("TooManyRequestsException", "Invoke")
    world.do(world.create("a"))

    assert not world.announced("a")


def test_delivery_over_budget_is_announced(world: World) -> None:
    late: list[Any] = []

    class Slow(LambdaMessages):
        def send(self, address: str, message: dict[str, Any]) -> None:  # noqa: ARG002
            late.append(address)
            world.clock.advance(2_000)

    world.delivery.messages = Slow(world.functions, {})
    for id in ("v", "w"):
        world.held(id)
    late.clear()
    world.do(world.create("p", None), TaskSuspend("v", 1, ("p",)), TaskSuspend("w", 1, ("p",)))
    world.do(PromiseSettle("p", "resolved"))

    assert len(late) == 1
    assert {world.state("v"), world.state("w")} == {("pending", 1), ("suspended", 1)}
    assert world.announced("p"), "the dispatcher resumes the other one"


@pytest.mark.parametrize(
    "error",
    [StoreError("no answer"), AwsUnreachable("no answer"), refusal("AccessDenied", "SendMessage")],
    ids=["store", "network", "permission"],
)
def test_queue_that_fails_leaves_the_timer_to_the_dispatcher(world: World, error: Exception) -> None:
    def fail(**_: Any) -> None:
        raise error

    world.sqs.send_message = fail  # type: ignore[method-assign]
    assert world.do(world.create("t", None, 60_000, **{TIMER: "true"})).ok

    assert world.announced("t")


@pytest.mark.parametrize("state", ["pending", "settled"])
def test_repeated_request_delivers_what_a_dead_writer_owes(world: World, state: str) -> None:
    silent = world.table.store(world.clock)  # It writes, and dies before it delivers.
    if state == "pending":
        request: Request = world.create("w")
    else:
        world.suspended()
        request = PromiseSettle("w.1", "resolved")
    silent.transact(request, announce=False)
    assert world.invoked() == []
    world.do(request)

    assert world.invoked() == [("w", 0 if state == "pending" else 1)]


def test_repeated_request_announces_what_its_process_cannot_deliver(world: World) -> None:
    world.table.store(world.clock).apply(world.create("w"))
    world.table.store(world.clock).apply(PromiseSettle("w", "resolved"))
    outside = world.store.delivered_by(Delivery(messages=LambdaMessages(world.functions, None)))
    before = world.table.item("w")["effects"]

    assert outside.apply(world.create("w")).ok
    assert world.table.item("w")["effects"] != before


def test_acquired_task_is_not_offered_again_by_a_repeated_creation(world: World) -> None:
    world.held()
    world.do(world.create("w"))

    assert world.invoked() == []


def test_root_is_marked_before_it_is_settled(world: World) -> None:
    world.held()
    world.do(TaskFulfill("w", 1, PromiseSettle("w", "resolved")))

    record = world.store.record("w")
    assert record is not None
    assert (record.rev, record.delivered, record.wake_at) == (3, True, None)
    assert [item["sk"]["S"] for item in world.table.items() if item["sk"]["S"].startswith("expiry#")]


def test_creation_registers_callback_and_suspension_is_one_write(world: World) -> None:
    world.held()
    assert world.do(world.awaited("w.1")).awaited
    response = world.do(TaskSuspendRegistered("w", 1, world.clock.now() + HOUR))

    assert (response.status, world.state("w")) == (200, ("suspended", 1))


def test_worker_that_lost_its_lease_before_suspending_wakes_its_successor(world: World) -> None:
    world.held()
    world.do(world.awaited("w.1"), TaskRelease("w", 1, handover=True), TaskAcquire("w", 1, "q", 60_000))
    assert world.do(TaskSuspend("w", 2, ("w.1",))).ok
    world.functions.invoked.clear()
    world.do(PromiseSettle("w.1", "resolved"))

    assert world.invoked() == [("w", 2)]


def test_replay_that_creates_its_pending_promise_again_registers_its_version(world: World) -> None:
    world.held()
    world.do(world.awaited("w.1"), TaskRelease("w", 1, handover=True), TaskAcquire("w", 1, "q", 60_000))
    assert world.do(world.awaited("w.1", version=2)).awaited
    world.do(TaskSuspendRegistered("w", 2, None))
    world.functions.invoked.clear()
    world.do(PromiseSettle("w.1", "resolved"))

    assert world.invoked() == [("w", 2)]


def test_late_registration_keeps_that_of_a_later_version(world: World) -> None:
    world.do(world.create("p", None))
    world.held()
    late, successor = (world.table.store(world.clock) for _ in range(2))
    assert late.apply(PromiseAwait("p", "other", 1)).awaited  # From now on it predicts the promise.
    world.do(TaskRelease("w", 1, handover=True), TaskAcquire("w", 1, "q", 60_000))
    assert successor.apply(PromiseAwait("p", "w", 2)).awaited

    assert not late.apply(PromiseAwait("p", "w", 1)).awaited
    record = world.store.record("p")
    assert record is not None
    assert record.callbacks == {"other": 1, "w": 2}


def test_registration_on_an_unknown_promise_is_404(world: World) -> None:
    assert world.store.apply(PromiseAwait("gone", "w", 1)).status == 404


def test_promise_that_is_registered_and_not_awaited_resumes_nothing(world: World) -> None:
    world.held()
    assert world.do(world.awaited("w.1")).awaited
    assert world.do(world.awaited("w.2")).awaited
    world.do(TaskSuspendRegistered("w", 1, None, unawaited=("w.1",)), PromiseSettle("w.1", "resolved"))
    assert (world.state("w"), world.invoked()) == (("suspended", 1), [])

    world.do(PromiseSettle("w.2", "resolved"))
    assert (world.state("w"), world.invoked()) == (("pending", 1), [("w", 1)])


def test_settlement_from_outside_resumes_first_and_survives_a_crash(world: World) -> None:
    """W21: the task may be pending before its promise is settled, and never the other way round."""
    world.suspended()
    puts = itertools.count()

    class Dying:
        def __getattr__(self, operation: str) -> Any:
            if operation == "put_item" and next(puts) == 1:
                raise Killed
            return getattr(world.table.client, operation)

    mortal = world.table.store(world.clock, client=Dying()).delivered_by(world.delivery)
    with pytest.raises(Killed):
        mortal.apply(PromiseSettle("w.1", "resolved"))
    promise = world.store.record("w.1")
    assert promise is not None
    assert (world.state("w"), promise.pending, world.invoked()) == (("pending", 1), True, [])

    world.do(TaskAcquire("w", 1, "q", 60_000), world.awaited("w.1", version=2), TaskSuspendRegistered("w", 2, None))
    world.do(PromiseSettle("w.1", "resolved"))
    assert (world.state("w"), world.invoked()) == (("pending", 2), [("w", 2)])


def test_environment_names_the_delivery() -> None:
    clock = ManualClock()
    assert delivery_of({"RESONATE_DELIVERY": "stream"}, clock) is None
    program = delivery_of({"RESONATE_RETENTION_SECONDS": ""}, clock)
    function = delivery_of({"RESONATE_TIMER_QUEUE_URL": "https://sqs/q", "RESONATE_RETENTION_SECONDS": "60"}, clock)
    assert program is not None
    assert (program.timers, program.retention_s) == (None, None)
    assert function is not None
    assert (function.timers is not None, function.retention_s) == (True, 60)
    with pytest.raises(SettingsError, match="RESONATE_DELIVERY must be writer or stream, got 'both'"):
        delivery_of({"RESONATE_DELIVERY": "both"}, clock)


def test_writer_without_the_groups_of_the_deployment_announces_their_messages(world: World) -> None:
    outside = world.store.delivered_by(Delivery(messages=LambdaMessages(world.functions, None)))
    for id, target in (("v", WORKER), ("w", "poll://any@default")):
        outside.apply(world.create(id, target))

    assert (world.invoked(), world.announced("v"), world.announced("w")) == ([("v", 0)], False, True)


def test_settlement_after_a_release_is_seen_by_the_next_holder(world: World) -> None:
    world.held()
    world.do(world.awaited("w.1"), TaskRelease("w", 1, handover=True), PromiseSettle("w.1", "resolved"))
    world.do(TaskAcquire("w", 1, "q", 60_000))

    assert world.do(TaskSuspend("w", 2, ("w.1",))).status == 300


def test_settlement_between_creation_and_suspension_refuses_the_suspension(world: World) -> None:
    world.held()
    world.do(world.awaited("w.1"), PromiseSettle("w.1", "resolved"))

    assert world.do(TaskSuspendRegistered("w", 1, None)).status == 300


def test_settled_promise_registers_nothing(world: World) -> None:
    world.held()
    world.do(world.create("w.1", None, HOUR, **{ORIGIN: "w"}), PromiseSettle("w.1", "resolved"))

    assert not world.do(world.awaited("w.1")).awaited


@pytest.mark.parametrize(("target", "taken"), [(WORKER, True), ("lambda://other", False)])
def test_caller_is_taken_over_by_a_worker_of_its_target(world: World, target: str, taken: bool) -> None:
    world.held()
    called = AwaitedCreate("w.1", world.clock.now() + HOUR, tags={ORIGIN: "w", TARGET: WORKER}, awaiter="w", version=1)
    world.do(called, TaskSuspendRegistered("w", 1, None), TaskAcquire("w.1", 0, "p", 60_000))
    world.functions.invoked.clear()
    fulfill = FulfillAndTakeOver("w.1", 1, PromiseSettle("w.1", "resolved"), Holder("p", 60_000, (target,)))
    response = world.do(fulfill)

    assert (response.task is not None and response.task.version == 2) is taken
    assert [promise.id for promise in response.preload] == (["w"] if taken else [])
    assert world.state("w") == (("acquired", 2) if taken else ("pending", 1))
    assert world.invoked() == ([] if taken else [("w", 1)])
