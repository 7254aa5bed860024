"""ServerDelivery of messages to workers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

from resonate_infra.server.delivery import ServerDelivery, lambda_client_of, served_groups
from resonate_infra.server.hub import MAX_BUFFERED, Connection, Hub
from resonate_infra.server.lambdas import Lambdas, Mapped
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle, TaskAcquire
from resonate_store.model.tags import DELAY, TARGET
from tests.support.aws_doubles import Lambda
from tests.support.present import present
from tests.support.server_api import PATIENCE

URL = "http://localhost:8001"
UNBLOCK = {"kind": "unblock", "head": {}, "data": {"promise": {"id": "p"}}}


def execute(id: str = "w") -> dict[str, Any]:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": 0}}}


def received(id: str = "w") -> dict[str, Any]:
    return {"kind": "execute", "head": {"serverUrl": URL}, "data": {"task": {"id": id, "version": 0}}}


class Pushed:
    """Double of the pusher: notes messages, and waits for the gate."""

    def __init__(self) -> None:
        self.pushed: Queue[tuple[str, dict[str, Any]]] = Queue()
        self.gate = threading.Event()
        self.gate.set()

    def push(self, address: str, message: dict[str, Any]) -> bool:
        self.pushed.put((address, message))
        return self.gate.wait(PATIENCE)


class Functions(Lambda):
    """Double of the Lambda client that queues its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Queue[tuple[str, str, Any]] = Queue()

    def invoke(self, **call: Any) -> None:
        super().invoke(**call)
        self.calls.put(self.invoked[-1])


class Invoked(Lambdas):
    """Double of the functions in this process: notes their events."""

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

    def make(self, client: Any) -> ServerDelivery:
        groups = served_groups({"worker": 1}, {"remote": "https://x.example", "worker": "lambda://elsewhere"})
        return ServerDelivery(URL, self.hub, self.lambdas, groups, self.pusher, client)  # pyright: ignore[reportArgumentType]

    def create(self, id: str, target: str, **tags: str) -> None:
        response = self.store.apply(PromiseCreate(id, self.clock.now() + 10**9, tags={TARGET: target, **tags}))
        assert response.ok, response.error

    def connect(self, id: str, messages: int = 1) -> Connection:
        """Connect a worker of the group `g`, and wait until it was notified of so many messages."""
        notified: Queue[None] = Queue()
        connection = self.hub.connect("g", id, lambda: notified.put(None))
        for _ in range(messages):
            notified.get(timeout=PATIENCE)
        return connection

    def taken(self, connection: Connection) -> list[str]:
        """Return the ids of the tasks in the messages that wait for a connection."""
        messages = iter(lambda: self.hub.take(connection), None)
        return [json.loads(message)["data"]["task"]["id"] for message in messages]


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.pusher.gate.set()
    assert scene.delivery.close(PATIENCE)


def test_http_address_is_pushed_with_the_server_url(scene: Scene) -> None:
    for address, destination in (
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
        ("https://x.example/y", "https://x.example/y"),
        ("poll://any@remote", "https://x.example"),
    ):
        scene.delivery.send(address, execute())
        scene.delivery.send(address, UNBLOCK)
        pushed = [scene.pusher.pushed.get(timeout=PATIENCE) for _ in range(2)]
        assert sorted(pushed, key=str) == [(destination, received()), (destination, UNBLOCK)]


def test_slow_receiver_does_not_delay_other_pushes(scene: Scene) -> None:
    scene.pusher.gate.clear()
    for id in ("a", "b", "c"):
        scene.delivery.send("http://slow", execute(id))

    assert {scene.pusher.pushed.get(timeout=PATIENCE)[1]["data"]["task"]["id"] for _ in range(3)} == {"a", "b", "c"}


def test_group_with_a_function_is_served_by_it(scene: Scene) -> None:
    for address in ("poll://any@worker", "poll://uni@worker/1", "lambda://worker"):
        scene.delivery.send(address, execute())

    assert scene.lambdas.invoked == [("worker", received())] * 3


def test_unmapped_function_is_invoked_in_aws(scene: Scene) -> None:
    scene.delivery.send("lambda://other:live", execute())

    assert scene.functions.calls.get(timeout=PATIENCE) == ("other:live", "Event", received())


def test_unmapped_function_without_aws_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.make(None).send("lambda://other", execute())

    assert "nothing serves lambda://other: start the server with --lambda other=module:handler" in caplog.text


def test_lambda_client_exists_with_a_table_or_an_endpoint() -> None:
    assert lambda_client_of({}, None) is None
    assert lambda_client_of({}, "promises") is not None
    assert lambda_client_of({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, None) is not None


def test_group_without_workers_is_logged_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.hub.connect("h", "1", lambda: None)
    for id in ("a", "b", "c"):
        scene.create(id, "poll://any@svcc")
    scene.create("d", "poll://uni@svcc/1")
    scene.create("e", "poll://any@h")

    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "a is waiting for a worker of svcc; none is connected (connected are workers of h)",
        "d is waiting for the worker 1 of svcc; it is not connected (connected are workers of h)",
    ]


def test_workers_are_counted_for_polled_tasks_only(scene: Scene) -> None:
    for id in ("1", "2"):
        scene.hub.connect("g", id, lambda: None, prefix="a" if id == "1" else "")

    def counted(id: str, target: str) -> int | None:
        scene.create(id, target)
        promise = present(scene.store.apply(PromiseGet(id)).promise)
        return scene.delivery.workers(promise)

    assert [counted("a", "poll://any@g"), counted("b", "poll://any@g")] == [2, 1]
    assert [counted("ab", "poll://uni@g/1"), counted("ba", "poll://uni@g/1"), counted("c", "poll://any@h")] == [1, 0, 0]
    assert [counted(f"p-{n}", to) for n, to in enumerate(("poll://any@worker", "lambda://x", "http://x"))] == [None] * 3


def test_connected_worker_is_offered_the_tasks_that_wait(scene: Scene) -> None:
    for id in ("taken", "settled", "open"):
        scene.create(id, "poll://any@g")
    scene.create("other", "poll://any@h")
    assert scene.store.apply(TaskAcquire("taken", 0, "elsewhere", 60_000)).ok
    assert scene.store.apply(PromiseSettle("settled", "resolved")).ok
    message = scene.hub.take(connection := scene.connect("1"))

    assert message is not None
    assert json.loads(message) == received("open")
    assert scene.taken(connection) == []
    assert scene.hub.claim("g") == []


def test_damaged_record_delays_no_other_task(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in ("a", "poison", "z"):
        scene.create(id, "poll://any@g")
    record = scene.store.record

    def read(id: str) -> Record | None:
        if id == "poison":
            raise ValueError("damaged")
        return record(id)

    monkeypatch.setattr(scene.store, "record", read)

    assert scene.taken(scene.connect("1", messages=2)) == ["a", "z"]


def test_settled_tasks_beyond_a_buffer_hide_no_open_one(scene: Scene) -> None:
    one = scene.hub.connect("g", "1", lambda: None)
    for n in range(MAX_BUFFERED + 1):
        scene.create(f"{n}", "poll://any@g")
        assert scene.taken(one) == [f"{n}"]
    for n in range(MAX_BUFFERED):
        assert scene.store.apply(PromiseSettle(f"{n}", "resolved")).ok
    notified = threading.Event()
    two = scene.hub.connect("g", "2", notified.set)
    scene.hub.disconnect(one)

    assert notified.wait(PATIENCE)
    assert scene.taken(two) == [f"{MAX_BUFFERED}"]


def test_recall_offers_the_tasks_of_an_earlier_server(scene: Scene) -> None:
    scene.store.subscribe(send=lambda _address, _message: None)
    scene.create("w", "poll://any@g")
    scene.create("pushed", "http://x.example")
    scene.create("delayed", "poll://any@g", **{DELAY: str(scene.clock.now() + 60_000)})
    connection = scene.connect("1", messages=0)
    assert scene.taken(connection) == []
    scene.delivery.recall(scene.store, scene.clock.now())

    assert scene.taken(connection) == ["w"]
    assert scene.pusher.pushed.empty()
