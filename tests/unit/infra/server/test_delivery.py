"""How messages reach workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

from resonate_infra.server.delivery import Delivery, lambda_client_of, served_groups
from resonate_infra.server.hub import MAX_BUFFERED, Hub
from resonate_infra.server.lambdas import Lambdas, Mapped
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle, TaskAcquire
from resonate_store.model.tags import DELAY, TARGET
from tests.support.aws_doubles import Lambda
from tests.support.server_api import PATIENCE

URL = "http://localhost:8001"
UNBLOCK = {"kind": "unblock", "head": {}, "data": {"promise": {"id": "p"}}}


def execute(id: str = "w") -> dict[str, Any]:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": 0}}}


def received(id: str = "w") -> dict[str, Any]:
    return {"kind": "execute", "head": {"serverUrl": URL}, "data": {"task": {"id": id, "version": 0}}}


class Pushed:
    """Stands for the pusher: notes what it should post, and waits for the gate."""

    def __init__(self) -> None:
        self.pushed: Queue[tuple[str, dict[str, Any]]] = Queue()
        self.gate = threading.Event()
        self.gate.set()

    def push(self, address: str, message: dict[str, Any]) -> bool:
        self.pushed.put((address, message))
        return self.gate.wait(PATIENCE)


class Functions(Lambda):
    """Stands for AWS's client, and tells when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Queue[tuple[str, str, Any]] = Queue()

    def invoke(self, **call: Any) -> None:
        super().invoke(**call)
        self.calls.put(self.invoked[-1])


class Invoked(Lambdas):
    """Stands for the functions in this process: notes what they should be called with."""

    def __init__(self) -> None:
        super().__init__({"worker": Mapped("worker", "m", "h")}, ManualClock(), 60.0)
        self.invoked: list[tuple[str, dict[str, Any]]] = []

    def invoke(self, name: str, message: dict[str, Any]) -> None:
        self.invoked.append((name, message))


class Scene:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hub, self.pusher, self.lambdas, self.functions = Hub(), Pushed(), Invoked(), Functions()
        self.delivery = self.make(lambda: self.functions)
        self.store.subscribe(send=self.delivery.send)
        self.delivery.serve(self.store)

    def make(self, client: Any) -> Delivery:
        groups = served_groups({"worker": 1}, {"remote": "https://x.example", "worker": "lambda://elsewhere"})
        return Delivery(URL, self.hub, self.lambdas, groups, self.pusher, client)  # pyright: ignore[reportArgumentType]

    def create(self, id: str, target: str, **tags: str) -> None:
        response = self.store.apply(PromiseCreate(id, self.clock.now() + 10**9, tags={TARGET: target, **tags}))
        assert response.ok, response.error


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.pusher.gate.set()
    assert scene.delivery.close(PATIENCE)


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
        ("https://x.example/y", "https://x.example/y"),
        ("poll://any@remote", "https://x.example"),
    ],
)
def test_http_is_pushed_with_the_servers_address(scene: Scene, address: str, destination: str) -> None:
    scene.delivery.send(address, execute())
    scene.delivery.send(address, UNBLOCK)

    pushed = [scene.pusher.pushed.get(timeout=PATIENCE) for _ in range(2)]
    assert sorted(pushed, key=str) == [(destination, received()), (destination, UNBLOCK)]


def test_a_receiver_that_takes_its_time_holds_nobody_up_and_is_sent_the_same_once(scene: Scene) -> None:
    scene.pusher.gate.clear()
    for id in ("a", "b", "c"):
        scene.delivery.send("http://slow", execute(id))

    assert {scene.pusher.pushed.get(timeout=PATIENCE)[1]["data"]["task"]["id"] for _ in range(3)} == {"a", "b", "c"}


@pytest.mark.parametrize("address", ["poll://any@worker", "poll://uni@worker/1", "lambda://worker"])
def test_a_group_with_a_function_here_is_served_by_it(scene: Scene, address: str) -> None:
    scene.delivery.send(address, execute())

    assert scene.lambdas.invoked == [("worker", received())]


def test_any_other_function_is_invoked_in_aws(scene: Scene) -> None:
    scene.delivery.send("lambda://other:live", execute())

    assert scene.functions.calls.get(timeout=PATIENCE) == ("other:live", "Event", received())


def test_where_there_is_no_aws_such_a_function_is_named(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.make(None).send("lambda://other", execute())

    assert "nothing serves lambda://other: start the server with --lambda other=module:handler" in caplog.text


def test_there_is_aws_where_the_environment_or_the_table_says_so() -> None:
    assert lambda_client_of({}, None) is None
    assert lambda_client_of({}, "promises") is not None
    assert lambda_client_of({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, None) is not None


def test_a_group_without_workers_is_logged_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.hub.connect("h", "1", lambda: None)
    for id in ("a", "b", "c"):
        scene.create(id, "poll://any@svcc")
    scene.create("d", "poll://uni@svcc/1")
    scene.create("e", "poll://any@h")

    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "a is waiting for a worker of svcc; none is connected (connected are workers of h)",
        "d is waiting for the worker 1 of svcc; it is not connected (connected are workers of h)",
    ]


def test_workers_are_counted_where_tasks_are_polled_for(scene: Scene) -> None:
    for id in ("1", "2"):
        scene.hub.connect("g", id, lambda: None, prefix="a" if id == "1" else "")

    def counted(id: str, target: str) -> int | None:
        scene.create(id, target)
        promise = scene.store.apply(PromiseGet(id)).promise
        assert promise is not None
        return scene.delivery.workers(promise)

    assert [counted("a", "poll://any@g"), counted("b", "poll://any@g")] == [2, 1]
    assert [counted("ab", "poll://uni@g/1"), counted("ba", "poll://uni@g/1"), counted("c", "poll://any@h")] == [1, 0, 0]
    assert [counted(f"p-{n}", to) for n, to in enumerate(("poll://any@worker", "lambda://x", "http://x"))] == [None] * 3


def test_a_worker_that_comes_is_offered_what_has_waited(scene: Scene) -> None:
    scene.create("w", "poll://any@g")
    scene.create("other", "poll://any@h")
    notified = threading.Event()
    connection = scene.hub.connect("g", "1", notified.set)

    assert notified.wait(PATIENCE)
    message = scene.hub.take(connection)
    assert message is not None
    assert b'"serverUrl":"http://localhost:8001"' in message
    assert b'"id":"w","version":0' in message
    assert scene.hub.take(connection) is None


def test_it_is_not_offered_what_somebody_has_or_nobody_needs_any_more(scene: Scene) -> None:
    for id in ("taken", "settled", "open"):
        scene.create(id, "poll://any@g")
    assert scene.store.apply(TaskAcquire("taken", 0, "elsewhere", 60_000)).ok
    assert scene.store.apply(PromiseSettle("settled", "resolved")).ok
    notified = threading.Event()
    connection = scene.hub.connect("g", "1", notified.set)

    assert notified.wait(PATIENCE)
    message = scene.hub.take(connection)
    assert message is not None
    assert b'"id":"open"' in message
    assert scene.hub.take(connection) is None
    assert scene.hub.claim("g") == []


def test_a_task_that_cannot_be_read_delays_no_other(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in ("a", "poison", "z"):
        scene.create(id, "poll://any@g")
    record = scene.store.record

    def read(id: str) -> Record | None:
        if id == "poison":
            raise ValueError("damaged")
        return record(id)

    monkeypatch.setattr(scene.store, "record", read)
    news: Queue[None] = Queue()
    connection = scene.hub.connect("g", "1", lambda: news.put(None))
    for _ in range(2):
        news.get(timeout=PATIENCE)

    messages = [scene.hub.take(connection) for _ in range(3)]
    assert messages[0] is not None
    assert b'"id":"a"' in messages[0]
    assert messages[1] is not None
    assert b'"id":"z"' in messages[1]
    assert messages[2] is None


def test_settled_tasks_beyond_a_buffer_hide_no_open_one(scene: Scene) -> None:
    one = scene.hub.connect("g", "1", lambda: None)
    for n in range(MAX_BUFFERED + 1):
        scene.create(f"{n}", "poll://any@g")
        assert scene.hub.take(one) is not None
    for n in range(MAX_BUFFERED):
        assert scene.store.apply(PromiseSettle(f"{n}", "resolved")).ok
    notified = threading.Event()
    two = scene.hub.connect("g", "2", notified.set)
    scene.hub.disconnect(one)

    assert notified.wait(PATIENCE)
    message = scene.hub.take(two)
    assert message is not None
    assert f'"id":"{MAX_BUFFERED}"'.encode() in message


def test_a_table_is_asked_what_an_earlier_server_had_on_offer(scene: Scene) -> None:
    scene.store.subscribe(send=lambda _address, _message: None)
    scene.create("w", "poll://any@g")
    scene.create("pushed", "http://x.example")
    scene.create("delayed", "poll://any@g", **{DELAY: str(scene.clock.now() + 60_000)})
    notified = threading.Event()
    connection = scene.hub.connect("g", "1", notified.set)
    assert not notified.is_set()
    scene.delivery.recall(scene.store, scene.clock.now())

    assert notified.is_set()
    message = scene.hub.take(connection)
    assert message is not None
    assert b'"id":"w"' in message
    assert scene.hub.take(connection) is None
    assert scene.pusher.pushed.empty()
