"""The rules M1 to M9 of docs/rules.md: inboxes and published state. The corpus has what answers show."""

from __future__ import annotations

from msgspec.structs import replace

from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.ids import message_id, state_id
from resonate_store.model.message_requests import MessageSend, TaskSuspend, TaskSuspendRegistered
from resonate_store.model.records import Inbox, Value
from resonate_store.model.tags import SEQUENCE, TAKEN
from tests.support.build import (
    DAY,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    acquire,
    crash,
    create,
    create_task,
    execute,
    fulfill,
    held,
    message,
    publish,
    receive,
    settle,
)
from tests.support.present import present
from tests.support.substrates import T0, World


def waiting(store: World, id: str, *names: str, seen: int = 0, version: int = 1) -> int:
    """The status of a suspension on messages alone."""
    return store.apply(TaskSuspend(id, version, (), receives=names, seen=seen)).status


def inbox(store: World, id: str) -> Inbox | None:
    return present(store.record(id)).inbox


def test_message_is_counted_until_it_is_taken(store: World) -> None:
    held(store, "w")
    assert inbox(store, "w") is None
    for key in ("k", "l", "k"):
        assert store.apply(message("w", key=key, data="12345")).ok
    size = len("12345content-typetext")
    assert inbox(store, "w") == Inbox(2, 2, 2 * size)
    places = [present(store.record(message_id("w", key))).tags[SEQUENCE] for key in ("k", "l")]
    assert places == ["1", "2"]

    for _ in range(2):
        assert store.apply(receive("w", "k")).ok
    assert inbox(store, "w") == Inbox(2, 1, size)
    assert store.apply(receive("w", "l", place="w.2")).ok
    assert inbox(store, "w") == Inbox(2, 0, 0)


def test_message_resumes_suspended_task_once_and_by_name(store: World) -> None:
    held(store, "w")
    assert waiting(store, "w", "stop", "m") == 200
    store.apply(message("w", "other"))
    assert (store.task("w").state, store.sent) == ("suspended", [])

    store.apply(message("w", "m", "k2"))
    store.apply(message("w", "m", "k3"))
    assert (store.task("w").state, store.sent) == ("pending", [execute("w", 1)])
    assert store.task("w").resumes == (message_id("w", "k2"),)
    assert store.task("w").receives == ()


def test_message_offer_that_is_lost_is_repeated(store: World) -> None:
    held(store, "w")
    waiting(store, "w", "m")
    store.apply(message("w"))
    store.sent.clear()
    store.pass_time(30 * SECOND)
    assert store.sent == [execute("w", 1)]


def test_suspension_is_refused_while_a_message_is_unseen(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1", OUTSIDE))
    store.apply(message("w"))
    for suspension in (
        TaskSuspend("w", 1, (), receives=("m",)),
        TaskSuspend("w", 1, ("w.1",), receives=("m",)),
        TaskSuspendRegistered("w", 1, receives=("m",)),
    ):
        response = store.apply(suspension)
        assert (response.status, present(response.task).messages) == (300, 1)
    assert store.apply(TaskSuspend("w", 1, ("w.1",))).status == 200  # it does not wait for messages


def test_suspension_on_many_promises_waits_for_messages_too(store: World) -> None:
    held(store, "w")
    many = [f"w.{n}" for n in range(1, 102)]
    for id in many:
        store.apply(create(id, OUTSIDE))
    store.apply(message("w"))
    assert store.apply(TaskSuspend("w", 1, tuple(many), receives=("m",))).status == 300
    assert store.apply(TaskSuspend("w", 1, tuple(many), receives=("m",), seen=1)).status == 200
    store.apply(message("w", key="k2"))
    assert store.task("w").state == "pending"


def test_message_is_taken_by_the_holder_alone(store: World) -> None:
    held(store, "w")
    store.apply(message("w"))
    crash_version = store.task("w").version
    store.pass_time(DAY // 2)
    assert store.apply(receive("w", version=crash_version)).status == 409
    assert store.apply(acquire("w", crash_version)).ok
    assert store.apply(receive("w", version=crash_version + 1)).ok
    assert present(store.record(message_id("w", "k"))).tags[TAKEN] == "w.1"


def test_taken_message_ends_the_timer_of_its_command(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1", TIMED, at=T0 + MINUTE))
    store.apply(message("w"))
    assert store.apply(replace(receive("w"), timed=True)).ok
    timer = present(store.record("w.1"))
    assert (timer.state, timer.settled_at) == ("rejected_canceled", T0)

    store.apply(message("w", key="k2"))
    store.apply(create("w.2", TIMED, at=T0 + MINUTE))
    store.pass_time(2 * MINUTE)
    assert store.apply(replace(receive("w", "k2", place="w.2"), timed=True)).ok
    assert present(store.record("w.2")).state == "resolved"


def test_inbox_is_bounded_by_number() -> None:
    store = MemoryStore(ManualClock(T0))
    store.apply(create_task("w"))
    statuses = {store.apply(MessageSend("w", "m", f"k{n}")).status for n in range(10_000)}
    assert statuses == {200}
    assert store.apply(MessageSend("w", "m", "more")).status == 429
    assert store.apply(receive("w", "k0")).ok
    assert store.apply(MessageSend("w", "m", "more")).ok


def test_message_waits_for_a_task_in_any_state(store: World) -> None:
    store.apply(create("w", TARGETED))
    assert store.apply(message("w", key="pending")).ok
    store.apply(acquire("w", 0))
    assert store.apply(message("w", key="acquired")).ok
    assert present(store.apply(acquire("w", 1)).error)
    store.apply(fulfill("w"))
    assert store.apply(message("w", key="late")).status == 410
    assert store.apply(message("w", key="pending")).ok
    store.pass_time(2 * DAY)
    assert store.apply(message("w", key="later")).status == 410


def test_waiting_message_is_not_progress_of_an_attempt(store: World) -> None:
    store.apply(create("w", TARGETED))
    crash(store, "w", between=lambda: store.apply(message("w")))
    assert store.task("w").attempts == 1
    version = store.task("w").version

    def take() -> None:
        store.apply(receive("w", version=version + 1))

    crash(store, "w", between=take)
    assert store.task("w").attempts == 0


def test_message_below_a_nested_promise_is_refused_with_its_execution(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1", {"resonate:origin": "w", "resonate:parent": "w"}))
    response = store.apply(message("w.1"))
    assert response.status == 422
    assert "send to its execution, 'w'" in present(response.error)


def test_message_larger_than_the_inbox_is_refused(store: World) -> None:
    held(store, "w")
    response = store.apply(MessageSend("w", "m", "k", Value(data="x" * (4 * 1024 * 1024 + 1))))
    assert (response.status, inbox(store, "w")) == (400, None)
    assert "4194304 is the limit" in present(response.error)


def test_published_value_is_replaced_and_wakes_no_worker(store: World) -> None:
    held(store, "w")
    assert store.apply(publish("w", data="half")).ok
    store.clock.advance(SECOND)
    assert store.apply(publish("w", data="again")).ok  # the same command: it does not publish twice
    item = present(store.record(state_id("w", "progress")))
    assert (item.param.data, item.settled_at) == ("half", T0)
    assert store.apply(publish("w", data="all", place="w.2")).ok
    item = present(store.record(state_id("w", "progress")))
    assert (item.param.data, item.created_at, item.settled_at) == ("all", T0, T0 + SECOND)
    assert (store.sent, store.armed) == ([], [])
    assert store.apply(publish("w", place="w.3", version=2)).status == 409
    assert store.record("w.3") is None


def test_settled_execution_leaves_its_messages_pending(store: World) -> None:
    held(store, "w")
    store.apply(message("w"))
    store.apply(settle("w"))
    assert present(store.record(message_id("w", "k"))).pending
    assert set(store.children("w")) == {message_id("w", "k")}
