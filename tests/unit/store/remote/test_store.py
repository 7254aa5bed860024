"""A store behind a server: what travels, and what becomes of requests and responses that get lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from resonate_store.interface import StoreClosed, StoreError, StoreUnreachable
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSearch,
    PromiseSettle,
    Request,
    Response,
    ScheduleCreate,
    ScheduleDelete,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
    TaskSuspend,
    TaskVerify,
)
from resonate_store.model.tags import ELAPSED, PARENT, TARGET, TIMER
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.present import present
from tests.support.records import lose
from tests.support.wire import URL, Line

T0 = ManualClock().now()
LATER = T0 + 3_600_000
TARGETED = {TARGET: "poll://any@default"}


class Client:
    """A remote store, the line, and the memory behind it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock)
        self.line = Line(self.memory)
        self.store = HttpStore(URL, clock=self.clock, jitter=lambda: 0.0, post=self.line, timeout=10)

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def hold(self, id: str = "w", pid: str = "p") -> Response:
        return self.apply(TaskCreate(pid, 60_000, PromiseCreate(id, LATER, tags=TARGETED)))

    def count(self, action: Callable[[], Any]) -> int:
        """The round trips that an action takes."""
        before = len(self.line.bodies)
        action()
        return len(self.line.bodies) - before

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(body)["kind"] for body in self.line.bodies]


@pytest.fixture
def client() -> Client:
    return Client()


def step(id: str, data: str = "out", tags: dict[str, str] | None = None) -> PromiseRecord:
    return PromiseRecord(id, LATER, T0, "resolved", Value(data=data), tags=tags or {})


# -- steps ------------------------------------------------------------------------------------------------------------


def test_a_step_is_two_fenced_round_trips_and_looks_as_if_recorded(client: Client) -> None:
    client.hold()
    response = client.apply(step("w.1", tags={PARENT: "w"}))

    assert client.kinds()[1:] == ["task.fence", "task.fence"]
    record = client.memory.record("w.1")
    assert record is not None
    assert response.promise == record.promise()
    assert (record.state, record.value.data, record.tags) == ("resolved", "out", {PARENT: "w"})


def test_a_step_says_how_long_it_has_run(client: Client) -> None:
    client.hold()
    client.memory.clock.sleep(1_000)
    client.apply(step("w.1", tags={PARENT: "w"}))

    record = client.memory.record("w.1")
    assert record is not None
    assert record.tags == {PARENT: "w", ELAPSED: "1000"}


def test_verifying_a_task_is_one_round_trip(client: Client) -> None:
    client.hold()
    assert client.apply(TaskVerify("w", 1)).status == 200
    assert client.apply(TaskVerify("w", 2)).status == 409
    assert client.apply(TaskVerify("nothing", 1)).status == 404
    assert client.kinds()[1:] == ["task.get"] * 3


def test_a_step_that_is_settled_already_is_adopted_in_one_round_trip(client: Client) -> None:
    client.hold()
    client.memory.apply(PromiseCreate("w.1", LATER))
    client.memory.apply(PromiseSettle("w.1", "rejected", Value(data="earlier")))

    assert client.count(lambda: client.apply(step("w.1"))) == 1
    promise = client.apply(step("w.1")).promise
    assert promise is not None
    assert (promise.state, promise.value.data) == ("rejected", "earlier")


def test_a_step_of_a_nested_coroutine_is_fenced_by_the_nearest_task_above(client: Client) -> None:
    client.hold("w")
    client.hold("w.1")
    client.apply(step("w.1.2.3"))
    client.apply(step("w.2.1"))

    fences = [msgspec.json.decode(body)["data"]["id"] for body in client.line.bodies[2:]]
    assert fences == ["w.1", "w.1", "w", "w"]


def test_a_step_below_an_id_of_its_own_is_written_without_a_fence(client: Client) -> None:
    client.hold()
    promise = client.apply(step("own.1")).promise

    assert client.kinds()[1:] == ["promise.create", "promise.settle"]
    assert promise is not None
    assert promise.state == "resolved"


@pytest.mark.parametrize("settling", [False, True])
def test_a_step_of_a_lost_task_is_409(client: Client, settling: bool) -> None:
    client.hold()

    def lose(_: bytes) -> None:
        client.memory.apply(TaskRelease("w", 1, handover=True))

    client.line.faults = [None, lose] if settling else [lose]
    assert client.apply(step("w.1")).status == 409
    assert client.apply(step("w.2")).status == 200, "nothing is fenced by a task that is known to be lost"
    assert client.kinds()[-1] == "promise.settle"


ENDS: list[Request] = [
    TaskFulfill("w", 1, PromiseSettle("w", "resolved")),
    TaskSuspend("w", 1, ("awaited",)),
    TaskRelease("w", 1),
]


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        *((end, lost) for end in ENDS for lost in (False, True)),
        (TaskHalt("w", 1), False),
        (TaskVerify("w", 1), True),
    ],
    ids=lambda value: value if isinstance(value, bool) else value.kind,
)
def test_lease_that_has_ended_fences_no_step(client: Client, end: Request, lost: bool) -> None:
    """Whether we have ended it, or another process before us."""
    client.memory.apply(PromiseCreate("awaited", LATER))
    client.hold()
    assert client.store.fences_records_by("w", 1)
    if lost:
        client.memory.apply(TaskHalt("w", 1))
    client.apply(end)

    assert not client.store.fences_records_by("w", 1)
    client.apply(step("w.1"))
    assert client.kinds()[-2:] == ["promise.create", "promise.settle"]


def test_a_task_that_is_not_there_any_more_is_lost_too(client: Client) -> None:
    client.hold()
    lose(client.memory, "w")
    assert client.apply(step("w.1")).status == 409


# -- children ---------------------------------------------------------------------------------------------------------


def test_the_children_of_a_task_come_with_it_once(client: Client) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    for n in range(3):
        client.memory.apply(PromiseCreate(f"w.{n}", LATER, tags={PARENT: "w"}))
    assert client.apply(TaskAcquire("w", 0, "p", 60_000)).ok

    assert client.count(lambda: client.store.children("w")) == 0
    client.memory.apply(PromiseSettle("w.1", "resolved"))
    again = {child.id: child.state for child in client.store.children("w")}
    assert again == {"w.0": "pending", "w.1": "resolved", "w.2": "pending"}, "what came once grows old"


def test_other_children_are_searched_for_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.remote.store.PAGE", 3)
    for n in range(8):
        client.memory.apply(PromiseCreate(f"w.1.{n}", LATER, tags={PARENT: "w.1"}))
    client.memory.apply(PromiseCreate("elsewhere", LATER, tags={PARENT: "w.1"}))
    client.memory.apply(PromiseCreate("w.1.0.1", LATER, tags={PARENT: "w.1.0"}))

    assert sorted(child.id for child in client.store.children("w.1")) == [f"w.1.{n}" for n in range(8)]
    assert len(client.line.bodies) == 3


def test_what_a_search_shows_as_settled_is_settled_before_it_is_believed(client: Client) -> None:
    client.memory.apply(PromiseCreate("w.1.1", T0 + 10, tags={PARENT: "w.1", TIMER: "true"}))
    client.memory.apply(PromiseCreate("w.1.2", LATER, tags={PARENT: "w.1"}))
    client.clock.advance(10)

    children = {child.id: child.state for child in client.store.children("w.1")}
    record = client.memory.record("w.1.1")
    assert children == {"w.1.1": "resolved", "w.1.2": "pending"}
    assert record is not None
    assert record.state == "resolved"


def test_child_shown_as_pending_after_its_deadline_is_left_out(client: Client) -> None:
    late = PromiseView(
        id="w.1", state="pending", param=Value(), value=Value(), tags={}, timeout_at=T0, created_at=T0 - 1
    )
    early = replace(late, id="w.2", timeout_at=T0 + 1)
    client.line.faults = [envelope(200, {"promises": [late, early]})]

    assert client.store.children("w") == [early]


def test_children_that_cannot_be_read_are_an_error(client: Client) -> None:
    client.line.faults = [lambda _: envelope(403, "Forbidden")]
    with pytest.raises(StoreError, match=r"the children of w\.1 cannot be read: 403 Forbidden"):
        client.store.children("w.1")


def test_a_refused_suspension_tells_of_what_was_awaited_and_of_the_children(client: Client) -> None:
    client.hold()
    for id in ("w.1", "w.2", "w.3"):
        client.apply(PromiseCreate(id, LATER, tags={PARENT: "w"}))
    client.apply(PromiseSettle("w.2", "resolved"))
    response = client.apply(TaskSuspend("w", 1, ("w.1", "w.2")))

    assert (response.status, [promise.id for promise in response.preload]) == (300, ["w.2"])
    assert client.count(lambda: client.store.children("w")) == 0


def test_a_server_that_preloads_other_promises_is_not_believed_to_tell_what_was_awaited(client: Client) -> None:
    client.hold()
    client.memory.apply(PromiseCreate("w.9", LATER))
    other = msgspec.to_builtins(client.memory.apply(PromiseSettle("w.9", "resolved")).promise)
    client.line.faults = [lambda _: envelope(300, {"preload": [other]})]

    assert client.apply(TaskSuspend("w", 1, ("w.1",))).preload == ()


# -- faults that pass -------------------------------------------------------------------------------------------------


def envelope(status: int, data: Any) -> Reply:
    head = {"corrId": "0", "status": status, "version": "2026-04-01"}
    return Reply(status, {}, msgspec.json.encode({"kind": "x", "head": head, "data": data}))


@pytest.mark.parametrize(
    "fault",
    [
        "refused",
        "lost",
        Reply(503, {}, b"busy"),
        Reply(429, {}, b""),
        Reply(502, {}, b"<html>"),
        envelope(500, "Internal error"),
    ],
    ids=str,
)
def test_a_fault_that_passes_is_not_seen(client: Client, fault: Any) -> None:
    client.line.faults = [fault] * 3
    response = client.apply(PromiseCreate("p", LATER))

    assert response.ok
    assert len(client.line.bodies) == 4
    assert client.clock.now() - T0 == 50 + 100 + 200


def test_pauses_double_up_to_five_seconds_and_jitter_takes_up_to_half(client: Client) -> None:
    tries: list[int] = []

    def note(_: bytes) -> str:
        tries.append(client.clock.now())
        return "refused"

    client.line.faults = [note] * 9
    store = HttpStore(URL, clock=client.clock, jitter=lambda: 0.5, post=client.line, timeout=100)
    assert store.apply(PromiseCreate("p", LATER)).ok
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == [38, 75, 150, 300, 600, 1200, 2400, 3750]


def test_a_server_may_ask_for_a_longer_pause(client: Client) -> None:
    client.line.faults = [Reply(429, {"retry-after": "3"}, b"")]
    assert client.apply(PromiseGet("p")).status == 404
    assert client.clock.now() - T0 == 3000


def test_a_request_that_nobody_answers_is_given_up_in_time(client: Client) -> None:
    client.line.faults = ["refused"] * 100
    with pytest.raises(StoreUnreachable, match="http://server cannot be reached: connection refused"):
        client.apply(PromiseGet("p"))
    assert 5_000 <= client.clock.now() - T0 <= 10_000


def test_a_caller_may_have_less_time(client: Client) -> None:
    client.line.faults = ["refused"] * 100
    with pytest.raises(StoreUnreachable):
        client.store.within(1).apply(PromiseGet("p"))
    assert client.clock.now() - T0 <= 1_000
    assert all(timeout <= 1 for timeout in client.line.timeouts)


def test_a_failure_of_the_server_that_does_not_pass_is_its_answer(client: Client) -> None:
    client.line.faults = [envelope(500, "Internal error")] * 100
    assert client.apply(PromiseGet("p")) == Response(status=500, error="Internal error")


def test_what_a_server_does_not_know_is_asked_once(client: Client) -> None:
    client.line.faults = [envelope(501, "no search")]
    assert client.apply(PromiseSearch()).status == 501
    assert len(client.line.bodies) == 1


def test_who_is_about_to_stop_waits_for_nothing(client: Client) -> None:
    def stop(_: bytes) -> str:
        client.store.insistent = False
        return "refused"

    client.line.faults = [stop]
    with pytest.raises(StoreUnreachable):
        client.apply(PromiseGet("p"))
    assert client.clock.now() == T0


def test_an_outage_is_told_once_and_so_is_its_end(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.line.faults = ["refused"] * 3
    client.apply(PromiseGet("p"))
    client.apply(PromiseGet("p"))
    assert [record.getMessage() for record in caplog.records] == [
        "http://server cannot be reached, trying again: connection refused",
        "http://server answers again",
    ]


# -- responses that get lost ------------------------------------------------------------------------------------------


def test_a_creation_whose_response_was_lost_is_ours(client: Client) -> None:
    client.line.faults = ["lost"]
    response = client.hold()

    assert response.task is not None
    assert (response.status, response.task.version, response.task.pid) == (200, 1, "p")
    assert response.promise is not None
    assert client.apply(step("w.1")).ok
    assert client.kinds()[-1] == "task.fence"


def test_creation_answered_by_a_failing_gateway_is_ours(client: Client) -> None:
    def gateway(body: bytes) -> Reply:
        client.line.post(body, {}, 1.0)
        return Reply(502, {}, b"<html>")

    client.line.faults = [gateway]
    assert present(client.hold().task).version == 1


def test_a_task_that_somebody_else_has_created_is_not_ours(client: Client) -> None:
    client.memory.apply(TaskCreate("other", 60_000, PromiseCreate("w", LATER, tags=TARGETED)))
    client.line.faults = ["lost"]
    assert client.hold().status == 409


def test_a_task_that_another_thread_of_ours_works_on_is_not_taken_twice(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.hold().status == 409

    client.apply(TaskRelease("w", 1, handover=True))
    client.apply(TaskAcquire("w", 1, "p", 60_000))
    client.line.faults = ["lost"]
    assert client.apply(TaskAcquire("w", 1, "p", 60_000)).status == 409


def test_an_acquisition_whose_response_was_lost_is_ours_with_its_children(client: Client) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    client.memory.apply(PromiseCreate("w.1", LATER, tags={PARENT: "w"}))
    client.line.faults = ["lost"]
    response = client.apply(TaskAcquire("w", 0, "p", 60_000))

    assert response.task is not None
    assert (response.status, response.task.state, response.task.version) == (200, "acquired", 1)
    assert [child.id for child in client.store.children("w")] == ["w.1"]


@pytest.mark.parametrize(("pid", "version"), [("other", 0), ("p", 1)])
def test_an_acquisition_that_was_refused_is_refused(client: Client, pid: str, version: int) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    client.memory.apply(TaskAcquire("w", 0, pid, 60_000))
    client.line.faults = ["lost"]
    assert client.apply(TaskAcquire("w", version, "p", 60_000)).status == 409


@pytest.mark.parametrize("refusal", ["refused", None])
def test_nothing_is_reconsidered_that_was_sent_once(client: Client, refusal: str | None) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    client.memory.apply(TaskAcquire("w", 0, "p", 60_000))
    client.line.faults = [refusal]

    assert client.apply(TaskAcquire("w", 0, "p", 60_000)).status == 409
    assert "task.get" not in client.kinds()


def test_a_fulfilment_whose_response_was_lost_is_done(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    settle = PromiseSettle("w", "resolved", Value(data="out"))
    response = client.apply(TaskFulfill("w", 1, settle))

    assert response.ok
    assert response.promise is not None
    assert response.promise.value.data == "out"


def test_a_fulfilment_that_somebody_else_has_forestalled_is_refused(client: Client) -> None:
    client.hold()
    client.memory.apply(PromiseSettle("w", "resolved", Value(data="theirs")))
    client.line.faults = ["lost"]
    assert client.apply(TaskFulfill("w", 1, PromiseSettle("w", "resolved", Value(data="ours")))).status == 409


@pytest.mark.parametrize("resumed", [False, True])
def test_a_suspension_whose_response_was_lost_is_done(client: Client, resumed: bool) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))

    def settled(_: bytes) -> None:
        if resumed:
            client.memory.apply(PromiseSettle("p", "resolved"))

    client.line.faults = ["lost", settled]
    assert client.apply(TaskSuspend("w", 1, ("p",))).status == 200
    task = client.memory.apply(TaskGet("w")).task
    assert task is not None
    assert (task.state, task.version) == ("pending" if resumed else "suspended", 1)


def test_a_suspended_task_that_goes_on_elsewhere_is_lost(client: Client) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))

    def go_on(_: bytes) -> None:
        client.memory.apply(PromiseSettle("p", "resolved"))
        client.memory.apply(TaskAcquire("w", 1, "other", 60_000))

    client.line.faults = ["lost", go_on]
    assert client.apply(TaskSuspend("w", 1, ("p",))).status == 409


def test_a_refused_suspension_whose_response_was_lost_is_refused_again(client: Client) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))
    client.apply(PromiseSettle("p", "resolved"))
    client.line.faults = ["lost"]
    response = client.apply(TaskSuspend("w", 1, ("p",)))
    assert (response.status, [promise.id for promise in response.preload]) == (300, ["p"])


def test_a_release_whose_response_was_lost_is_done(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.apply(TaskRelease("w", 1, handover=True)).ok


def test_release_whose_response_was_lost_is_done_if_halted_since(client: Client) -> None:
    client.hold()

    def halting(body: bytes) -> Reply:
        client.memory.apply(TaskHalt("w"))
        return client.line.post(body, {}, 1.0)

    client.line.faults = ["lost", halting]
    assert client.apply(TaskRelease("w", 1)).status == 200


def test_a_released_task_that_goes_on_elsewhere_is_lost(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost", lambda _: client.memory.apply(TaskAcquire("w", 1, "other", 60_000)) and None]
    assert client.apply(TaskRelease("w", 1, handover=True)).status == 409


def test_halting_and_continuing_whose_response_was_lost_are_done(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 1, "why")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskContinue("w")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 7, "why")).status == 409


def test_a_fence_whose_response_was_lost_is_done(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost", None, "lost"]
    response = client.apply(step("w.1"))
    assert response.promise is not None
    assert response.promise.state == "resolved"


def test_a_schedule_that_a_lost_request_has_deleted_is_deleted(client: Client) -> None:
    client.apply(ScheduleCreate("s", "* * * * *", "p.{{.timestamp}}", 1000, promise_tags=TARGETED))
    client.line.faults = ["lost"]
    assert client.apply(ScheduleDelete("s")).ok
    assert client.apply(ScheduleDelete("s")).status == 404


@pytest.mark.parametrize(
    "request_",
    [
        PromiseCreate("p", LATER),
        PromiseSettle("p", "resolved", Value(data="out")),
        TaskFence("w", 1, PromiseCreate("w.1", LATER)),
        TaskHeartbeat("p", (TaskReference("w", 1),)),
    ],
    ids=lambda request: request.kind,
)
def test_what_may_be_repeated_is_answered_as_the_first_time(request_: Request) -> None:
    answers: list[Response] = []
    for faults in ([], ["lost"], ["lost", Reply(503, {}, b"")]):
        client = Client()
        client.hold()
        client.apply(PromiseCreate("p", LATER))
        # Pauses would show in the instants of what is written.
        store = HttpStore(URL, clock=client.clock, jitter=lambda: 1.999, post=client.line)
        client.line.faults = list(faults)
        answers.append(store.apply(request_))
    assert answers[0].ok
    assert answers == [answers[0]] * 3


# -- what is no server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(404, {}, b"Not Found"), "http://server is not a Resonate server: it answers 404 Not Found"),
        (Reply(200, {}, b"<html>hello</html>"), "is not a Resonate server: it answers 200 <html>hello"),
        (Reply(405, {}, b""), "is not a Resonate server: it answers 405 without a body"),
        (Reply(200, {}, b"{}"), "is not a Resonate server"),
        (Reply(410, {}, b'{"error": "update"}'), "does not speak this protocol any more: 410"),
        (Reply(301, {"location": "https://there/"}, b""), "redirects to https://there/: use that url"),
        (Reply(403, {}, b'{"message":"Missing Authentication Token"}'), r"refuses us .*Missing.*iam=True"),
    ],
)
def test_what_is_no_server_is_said_at_once(client: Client, reply: Reply, message: str) -> None:
    client.line.faults = [reply]
    with pytest.raises(StoreError, match=message) as caught:
        client.apply(PromiseGet("p"))
    assert not isinstance(caught.value, StoreUnreachable)
    assert len(client.line.bodies) == 1


def test_an_answer_that_is_none_to_this_request_is_an_error(client: Client) -> None:
    client.line.faults = [lambda _: envelope(200, {})]
    with pytest.raises(StoreError, match=r"http://server: Invalid response to promise\.get: it holds no promise"):
        client.apply(PromiseGet("p"))


def test_a_body_that_is_too_large_for_somebody_in_between_is_413(client: Client) -> None:
    client.line.faults = [Reply(413, {}, b"too large")]
    assert client.apply(PromiseGet("p")) == Response(status=413, error="413 too large")


# -- who we are -------------------------------------------------------------------------------------------------------


def test_a_token_is_in_the_envelope_and_in_the_header(client: Client) -> None:
    store = HttpStore(URL, token="jwt", clock=client.clock, post=client.line)
    store.apply(PromiseGet("p"))
    assert msgspec.json.decode(client.line.bodies[0])["head"]["auth"] == "jwt"
    assert client.line.headers[0]["Authorization"] == "Bearer jwt"


def test_a_password_is_in_the_header(client: Client) -> None:
    store = HttpStore(URL, auth=("user", "secret"), clock=client.clock, post=client.line)
    store.apply(PromiseGet("p"))
    assert "auth" not in msgspec.json.decode(client.line.bodies[0])["head"]
    assert client.line.headers[0]["Authorization"] == "Basic dXNlcjpzZWNyZXQ="


def test_requests_are_signed_with_aws_credentials(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url = "https://abc.execute-api.eu-central-1.amazonaws.com/v1"
    store = HttpStore(url, clock=client.clock, post=client.line)
    store.apply(PromiseGet("p"))

    authorization = client.line.headers[0]["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/execute-api/aws4_request" in authorization
    assert "host" in authorization


# -- invocations ------------------------------------------------------------------------------------------------------


def test_an_invocation_that_is_over_can_do_nothing(client: Client) -> None:
    opened = client.store.open()
    assert opened.apply(PromiseCreate("p", LATER)).ok
    opened.close()
    for attempt in (lambda: opened.apply(PromiseGet("p")), lambda: opened.children("p"), opened.open):
        with pytest.raises(StoreClosed):
            attempt()
    assert client.apply(PromiseGet("p")).ok
