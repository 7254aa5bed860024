"""Steps, children and credentials of a store behind a server."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from msgspec.structs import replace

from resonate_store.interface import StoreClosed, StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskFulfill,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
    TaskVerify,
)
from resonate_store.model.tags import ELAPSED, PARENT, SCOPE, TIMER
from resonate_store.protocol.service import Service
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.present import present
from tests.support.remote import LATER, T0, TARGETED, Client, envelope, new_client, step  # noqa: F401
from tests.support.wire import URL, posted_to

# -- steps ------------------------------------------------------------------------------------------------------------


def test_step_is_recorded_by_one_request(client: Client) -> None:
    client.hold()
    client.memory.clock.sleep(1_000)
    response = client.apply(step("w.1", tags={PARENT: "w"}))

    assert client.kinds()[1:] == ["task.record"]
    record = client.memory.record("w.1")
    assert record is not None
    assert response.promise == record.promise()
    assert (record.state, record.value.data, record.tags) == ("resolved", "out", {SCOPE: "local", PARENT: "w"})
    assert (record.created_at, record.settled_at) == (T0, T0 + 1_000)


def test_step_begins_in_the_time_of_the_server(client: Client) -> None:
    """The clock of the worker is five minutes behind that of the server."""
    theirs = ManualClock(T0 + 300_000)
    store = MemoryStore(theirs)
    service = Service(store, clock=theirs)

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        return Reply(200, {}, service.answer(body)[1])

    client.line.post = post
    client.hold()
    for clock in (client.clock, theirs):
        clock.advance(700)
    client.apply(replace(step("w.1"), created_at=T0 + 500))

    record = store.record("w.1")
    assert record is not None
    assert (record.created_at, record.settled_at) == (T0 + 300_500, T0 + 300_700)


def test_verify_of_a_task_is_one_request(client: Client) -> None:
    client.hold()
    assert client.apply(TaskVerify("w", 1)).status == 200
    assert client.apply(TaskVerify("w", 2)).status == 409
    assert client.apply(TaskVerify("nothing", 1)).status == 404
    assert client.kinds()[1:] == ["task.get"] * 3


def test_step_that_is_settled_is_adopted_by_one_request() -> None:
    for old in (False, True):
        client = Client(old=old)
        client.hold()
        client.memory.apply(PromiseCreate("w.1", LATER))
        client.memory.apply(PromiseSettle("w.1", "rejected", Value(data="earlier")))

        assert client.count(lambda client=client: client.apply(step("w.1"))) == 1
        promise = client.apply(step("w.1")).promise
        assert promise is not None
        assert (promise.state, promise.value.data) == ("rejected", "earlier")


def test_step_is_recorded_for_the_nearest_task_above() -> None:
    for old, held in ((False, ["w.1", "w"]), (True, ["w.1", "w.1", "w", "w"])):
        client = Client(old=old)
        client.hold("w")
        client.hold("w.1")
        client.apply(step("w.1.2.3"))
        client.apply(step("w.2.1"))

        assert [msgspec.json.decode(body)["data"]["id"] for body in client.line.bodies[2:]] == held


def test_step_without_a_task_above_is_not_fenced(client: Client) -> None:
    client.hold()
    promise = present(client.apply(step("own.1")).promise)

    assert client.kinds()[1:] == ["promise.create", "promise.settle"]
    assert promise.state == "resolved"


def test_step_of_a_lost_task_is_409(subtests: pytest.Subtests) -> None:
    for old, requests_before in [(False, 0), (True, 0), (True, 1)]:
        with subtests.test(old=old, requests_before=requests_before):
            client = Client(old=old)
            client.hold()

            def lose(_: bytes, client: Client = client) -> None:
                client.memory.apply(TaskRelease("w", 1, handover=True))

            client.line.faults = [*[None] * requests_before, lose]
            assert client.apply(step("w.1")).status == 409
            record = client.memory.record("w.1")
            assert (record is not None and record.pending) == bool(requests_before)
            assert client.apply(step("w.2")).status == 200, "nothing is fenced by a task that is known to be lost"
            assert client.kinds()[-1] == "promise.settle"


def test_step_after_the_end_of_its_lease_is_not_fenced(subtests: pytest.Subtests) -> None:
    ends: list[Request] = [
        TaskFulfill("w", 1, PromiseSettle("w", "resolved")),
        TaskSuspend("w", 1, ("awaited",)),
        TaskRelease("w", 1),
    ]
    cases = [(end, lost) for end in ends for lost in (False, True)]
    for end, lost in (*cases, (TaskHalt("w", 1), False), (TaskVerify("w", 1), True)):
        with subtests.test(end=end, lost=lost):
            client = Client()
            client.memory.apply(PromiseCreate("awaited", LATER))
            client.hold()
            assert client.store.fences_records_by("w", 1)
            if lost:
                client.memory.apply(TaskHalt("w", 1))
            client.apply(end)

            assert not client.store.fences_records_by("w", 1)
            client.apply(step("w.1"))
            assert client.kinds()[-2:] == ["promise.create", "promise.settle"]


def test_step_of_a_deleted_task_is_409(client: Client) -> None:
    client.hold()
    client.memory.clear()
    assert client.apply(step("w.1")).status == 409


def test_step_at_an_old_server_is_two_fenced_requests() -> None:
    client = Client(old=True)
    client.hold()
    client.memory.clock.sleep(1_000)
    response = client.apply(step("w.1", tags={PARENT: "w"}))

    assert client.kinds()[1:] == ["task.fence", "task.fence"]
    record = client.memory.record("w.1")
    assert record is not None
    assert response.promise == record.promise()
    assert (record.state, record.value.data) == ("resolved", "out")
    assert record.tags == {SCOPE: "local", PARENT: "w", ELAPSED: "1000"}


def test_step_is_recorded_by_servers_that_take_turns(client: Client) -> None:
    """A deployment replaces servers one by one, so the next answer may come from an older one."""
    old, new = posted_to(client.memory, old=True), client.line.post
    client.hold()
    client.line.post = old
    assert client.apply(step("w.1")).ok
    assert client.apply(step("w.2")).ok
    client.line.post = new
    assert client.apply(step("w.3")).ok
    assert client.apply(step("w.4")).ok

    fences = ["task.fence"] * 2
    assert client.kinds()[1:] == ["task.record", *fences, *fences, *fences, "task.record"]
    for n in range(1, 5):
        record = client.memory.record(f"w.{n}")
        assert record is not None
        assert (record.state, record.value.data) == ("resolved", "out")


def test_step_that_a_server_refuses_as_invalid_is_not_repeated(client: Client) -> None:
    client.hold()
    assert client.apply(step("w.1", tags={SCOPE: "global"})).status == 400
    assert client.kinds()[1:] == ["task.record"]


# -- children ---------------------------------------------------------------------------------------------------------


def test_children_of_an_acquired_task_are_preloaded_once(client: Client) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    for n in range(3):
        client.memory.apply(PromiseCreate(f"w.{n}", LATER, tags={PARENT: "w"}))
    assert client.apply(TaskAcquire("w", 0, "p", 60_000)).ok

    assert client.count(lambda: client.store.children("w")) == 0
    client.memory.apply(PromiseSettle("w.1", "resolved"))
    again = {child.id: child.state for child in client.store.children("w")}
    assert again == {"w.0": "pending", "w.1": "resolved", "w.2": "pending"}, "what came once grows old"


def test_children_of_another_promise_are_searched_in_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.remote.store.PAGE", 3)
    for n in range(8):
        client.memory.apply(PromiseCreate(f"w.1.{n}", LATER, tags={PARENT: "w.1"}))
    client.memory.apply(PromiseCreate("elsewhere", LATER, tags={PARENT: "w.1"}))
    client.memory.apply(PromiseCreate("w.1.0.1", LATER, tags={PARENT: "w.1.0"}))

    assert sorted(child.id for child in client.store.children("w.1")) == [f"w.1.{n}" for n in range(8)]
    assert len(client.line.bodies) == 3


def test_children_shown_settled_by_a_search_are_stored_settled(client: Client) -> None:
    client.memory.apply(PromiseCreate("w.1.1", T0 + 10, tags={PARENT: "w.1", TIMER: "true"}))
    client.memory.apply(PromiseCreate("w.1.2", LATER, tags={PARENT: "w.1"}))
    client.clock.advance(10)

    children = {child.id: child.state for child in client.store.children("w.1")}
    assert children == {"w.1.1": "resolved", "w.1.2": "pending"}
    assert present(client.memory.record("w.1.1")).state == "resolved"


def test_children_shown_pending_after_their_deadline_are_left_out(client: Client) -> None:
    late = PromiseView(
        id="w.1", state="pending", param=Value(), value=Value(), tags={}, timeout_at=T0, created_at=T0 - 1
    )
    early = replace(late, id="w.2", timeout_at=T0 + 1)
    client.line.faults = [envelope(200, {"promises": [late, early]})]

    assert client.store.children("w") == [early]


def test_children_that_cannot_be_read_raise_an_error(client: Client) -> None:
    client.line.faults = [lambda _: envelope(403, "Forbidden")]
    with pytest.raises(StoreError, match=r"the children of w\.1 cannot be read: 403 Forbidden"):
        client.store.children("w.1")


def test_suspension_answered_300_has_awaited_promises_and_children(client: Client) -> None:
    client.hold()
    for id in ("w.1", "w.2", "w.3", "a"):
        client.apply(PromiseCreate(id, LATER, tags={PARENT: "w"}))
    for id in ("w.2", "a"):
        client.apply(PromiseSettle(id, "resolved"))
    response = client.apply(TaskSuspend("w", 1, ("w.1", "w.2", "a")))

    assert (response.status, [promise.id for promise in response.preload]) == (300, ["a", "w.2"])
    children: list[PromiseView] = []
    assert client.count(lambda: children.extend(client.store.children("w"))) == 0
    assert [child.id for child in children] == ["w.1", "w.2", "w.3"]


def test_suspension_answered_300_ignores_promises_it_does_not_await(client: Client) -> None:
    client.hold()
    client.memory.apply(PromiseCreate("w.9", LATER))
    other = msgspec.to_builtins(client.memory.apply(PromiseSettle("w.9", "resolved")).promise)
    client.line.faults = [lambda _: envelope(300, {"preload": [other]})]

    assert client.apply(TaskSuspend("w", 1, ("w.1",))).preload == ()


# -- credentials ------------------------------------------------------------------------------------------------------


def test_token_is_in_envelope_and_header_password_in_header(client: Client) -> None:
    for token, auth in (("jwt", None), (None, ("user", "secret"))):
        HttpStore(URL, token=token, auth=auth, clock=client.clock, post=client.line).apply(PromiseGet("p"))
    assert [msgspec.json.decode(body)["head"].get("auth") for body in client.line.bodies] == ["jwt", None]
    sent = [headers["Authorization"] for headers in client.line.headers]
    assert sent == ["Bearer jwt", "Basic dXNlcjpzZWNyZXQ="]


# -- invocations ------------------------------------------------------------------------------------------------------


def test_store_of_a_finished_invocation_is_closed(client: Client) -> None:
    opened = client.store.open()
    assert opened.apply(PromiseCreate("p", LATER)).ok
    opened.close()
    for attempt in (lambda: opened.apply(PromiseGet("p")), lambda: opened.children("p"), opened.open):
        with pytest.raises(StoreClosed):
            attempt()
    assert client.apply(PromiseGet("p")).ok
