"""Development server on a port of this machine, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate_infra.authentication import LEEWAY_MS
from resonate_infra.server.assembly import CannotServe, Server, ServerOptions
from resonate_infra.testing.endpoint import Endpoint
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate
from tests.support import receiver as receivers
from tests.support.server_api import FAR, PATIENCE, Api, serving
from tests.support.tables import table_definition
from tests.support.tokens import public, token
from tests.support.worker_code.noting import RECEIVED

NOW = 1_750_000_000_000


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as api:
        yield api


@pytest.fixture
def receiver() -> Iterator[receivers.Server]:
    receiver = receivers.Server()
    yield receiver
    receiver.close()


# Protocol and streams


def test_worker_polls_a_task_and_client_polls_its_outcome(api: Api) -> None:
    with api.poll("workers", "w-1") as worker, api.poll("clients", "c-1") as client:
        api.create("job", "poll://any@workers")
        message = worker.message()
        assert message == {
            "kind": "execute",
            "head": {"serverUrl": f"http://localhost:{api.port}"},
            "data": {"task": {"id": "job", "version": 0}},
        }
        api.ask("promise.register_listener", awaited="job", address="poll://uni@clients/c-1")
        assert api.ask("task.acquire", id="job", version=0, pid="w-1", ttl=60_000)["task"]["version"] == 1
        settle = {
            "kind": "promise.settle",
            "head": {},
            "data": {"id": "job", "state": "resolved", "value": {"data": "1"}},
        }
        api.ask("task.fulfill", id="job", version=1, action=settle)
        news = client.message()

    assert (news["kind"], news["head"]) == ("unblock", {})
    assert news["data"]["promise"]["state"] == "resolved"
    assert news["data"]["promise"]["value"] == {"data": "1"}


def test_started_worker_receives_the_tasks_that_wait(api: Api) -> None:
    for n in range(250):
        api.create(f"job-{n}", "poll://any@workers")
    with api.poll("workers", "w-1") as worker:
        assert {worker.task() for _ in range(250)} == {f"job-{n}" for n in range(250)}


def test_offers_to_a_stopped_worker_are_repeated(api: Api) -> None:
    # The timer would make the next offer after 30 s.
    enough, running = threading.Event(), threading.Event()

    def work(ctx: Context) -> str:
        if ctx.id == "0":
            running.set()
            assert enough.wait(PATIENCE)
        return ctx.id

    url = f"http://localhost:{api.port}"
    first, second, client = (
        Resonate.remote(url=url, group=group, workers=1) for group in ("workers", "workers", "client")
    )
    for worker in (first, second):
        worker.register(work, name="work")
    first.start()
    handles = [client.options(target="workers").begin_rpc(f"{n}", "work") for n in range(12)]
    assert running.wait(PATIENCE)
    second.start()
    stopping = threading.Thread(target=first.stop)
    stopping.start()

    assert [handle.result(PATIENCE) for handle in handles[1:]] == [f"{n}" for n in range(1, 12)]
    enough.set()
    stopping.join(PATIENCE)
    assert handles[0].result(PATIENCE) == "0"
    second.stop()
    client.stop()


def test_request_that_is_too_large_answers_413(api: Api) -> None:
    status, _, body = api.http("POST", "/", b" " * (5 * 1024 * 1024))

    assert status == 413
    assert json.loads(body)["head"]["status"] == 413


def test_poll_path_is_percent_decoded(api: Api) -> None:
    with api.poll("a%2Fb", "x%20y%C3%A9") as stream:
        api.create("job", "poll://uni@a%2Fb/x%20y%C3%A9")
        assert stream.task() == "job"


# Time


def test_due_timer_is_settled_by_the_server(api: Api) -> None:
    with api.poll("clients", "c") as client:
        now = api.create("t", timeout_at=FAR)["createdAt"]
        api.create("timer", timeout_at=now + 300, **{"resonate:timer": "true"})
        api.ask("promise.register_listener", awaited="timer", address="poll://uni@clients/c")
        promise = client.message()["data"]["promise"]

    assert (promise["id"], promise["state"], promise["settledAt"]) == ("timer", "resolved", now + 300)


def test_debug_requests_stop_and_move_the_time() -> None:
    clock = ManualClock(NOW)
    with serving(clock, debug=True) as api, api.poll("g", "1") as worker:
        api.ask("debug.start")
        api.create("job", "poll://any@g", timeout_at=NOW + 1_000)
        assert [each["address"] for each in api.ask("debug.snap")["messages"]] == ["poll://any@g"]
        api.ask("debug.tick", time=NOW + 1_000)
        assert api.ask("promise.get", id="job")["promise"]["state"] == "rejected_timedout"
        api.create("other", "poll://any@g")
        api.ask("debug.stop")
        assert [worker.task(), worker.task()] == ["job", "other"]
        api.ask("debug.reset")
        assert api.ask("debug.snap")["promises"] == []


# Pushes


def test_push_carries_the_message_and_the_shared_secret(
    receiver: receivers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "from-the-environment")
    for options, secret in (({}, "from-the-environment"), ({"push_token": "s3cret"}, "s3cret")):
        with serving(url="https://me.example", **options) as api:
            api.create("job", f"{receiver.url}/work?x=1")
            headers = receiver.arrived.get(timeout=PATIENCE)
        path, message, content_type = receiver.received[-1]
        assert (path, content_type) == ("/work?x=1", "application/json")
        assert headers["Authorization"] == f"Bearer {secret}"
        assert message["head"] == {"serverUrl": "https://me.example"}
        assert message["data"] == {"task": {"id": "job", "version": 0}}


def test_failed_push_is_logged_and_repeated_with_the_next_offer(
    receiver: receivers.Server, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    clock = ManualClock(NOW)
    with serving(clock) as api:
        api.create("job", receiver.url)
        receiver.arrived.get(timeout=PATIENCE)
        receiver.status = 200
        # The new timer wakes the thread of the server, which does not see that the clock moves.
        clock.advance(29_999)
        api.create("nudge", timeout_at=NOW + 30_000, **{"resonate:timer": "true"})
        clock.advance(1)
        receiver.arrived.get(timeout=PATIENCE)
    assert [message["data"]["task"]["id"] for _, message, _ in receiver.received] == ["job", "job"]
    assert "answered 500, the task will be offered again" in caplog.text


# Functions in process, tokens, refused options


def test_group_is_served_by_a_function_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_URL", "unset")
    with serving(lambdas=("worker=tests.support.worker_code.noting:handler",)) as api:
        api.create("job", "poll://any@worker")
        event, context, _ = RECEIVED.get(timeout=PATIENCE)
        assert event["data"]["task"]["id"] == "job"
        assert context.function_name == "worker"
        api.create("child", "lambda://worker")
        assert RECEIVED.get(timeout=PATIENCE)[0]["data"]["task"]["id"] == "child"


def test_tokens_are_required_for_requests_and_streams(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(public("rsa"))
    strong, weak = token(prefix="a"), token(prefix=None)
    with serving(ManualClock(NOW), auth_key=str(file)) as api:
        assert api.ask("promise.get", 401, id="a1") == "Unauthorized"
        api.token = strong
        for id, status in (("a1", 404), ("b1", 403)):
            api.ask("promise.get", status, id=id)
            with pytest.raises(ResonateStoreError) as caught:
                Resonate.remote(url=f"http://localhost:{api.port}", token=strong).get(id)
            assert caught.value.status == status
        for header in ({}, {"Authorization": f"Bearer {strong}x"}, {"Authorization": strong}):
            assert api.http("GET", "/poll/g/1", headers=header)[::2] == (401, b"Unauthorized")
        with api.poll("g", "1", {"Authorization": f"Bearer {strong}"}):
            pass
        assert api.http("GET", "/poll/g/1", headers={"Authorization": f"Bearer {weak}"})[::2] == (403, b"Forbidden")


def test_stream_ends_with_its_token() -> None:
    clock = ManualClock(NOW)
    ending = {"Authorization": f"Bearer {token(exp=NOW // 1000, role='admin')}"}
    with serving(clock, auth_key="none") as api, api.poll("g", "1", ending) as stream:
        clock.advance(LEEWAY_MS)
        api.token = token(role="admin")
        api.create("job", "poll://any@g")
        while line := stream.line():
            assert line.startswith("data:")
        assert stream.response.getheader("connection") == "close"


def test_stream_receives_only_ids_that_its_token_permits() -> None:
    def bearer(prefix: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(prefix=prefix)}"}

    def done(id: str) -> None:
        """Create and resolve a promise with the listener `poll://uni@owner/1`."""
        api.token = token(role="admin")
        api.create(id)
        api.ask("promise.register_listener", awaited=id, address="poll://uni@owner/1")
        api.ask("promise.settle", id=id, state="resolved", value={"data": "secret"})

    with serving(ManualClock(NOW), auth_key="none") as api, api.poll("owner", "1", bearer("b.")) as spy:
        done("a.lost")
        with api.poll("owner", "1", bearer("a.")) as owner:
            done("a.1")
            done("b.1")
            assert owner.message()["data"]["promise"]["id"] == "a.1"
            assert spy.message()["data"]["promise"]["id"] == "b.1"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"data": "x.db", "table": "t"}, "in a file or in a table: give one of both"),
    ({"table": "t", "debug": True}, "debug requests empty the store"),
    ({"lambdas": ("worker",)}, "maps no group to a handler"),
    ({"reload": True}, "there is nothing to reload: name a handler with --lambda"),
    ({"data": "/no/such/directory/x.db"}, "/no/such/directory/x.db"),
    ({"auth_key": "/no/such/key.pem"}, "the public key cannot be used"),
    ({"auth_key": "-----BEGIN nonsense"}, "the public key cannot be used"),
    ({"host": "no.such.host.invalid"}, "cannot listen on no.such.host.invalid:0"),
    ({"host": "192.0.2.1"}, "cannot listen on 192.0.2.1:0: .*; choose another host or port"),
]


def test_invalid_server_options_are_refused(monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    for options, why in REFUSED:
        with subtests.test(options=options), pytest.raises(CannotServe, match=why):
            Server(ServerOptions(**{"port": 0, **options}))
    monkeypatch.setenv("RESONATE_GROUPS", "nonsense")
    with pytest.raises(CannotServe, match="RESONATE_GROUPS must be a JSON object"):
        Server(ServerOptions(port=0))


# A table


@pytest.fixture(scope="module")
def table() -> Iterator[str]:
    """Return the name of a table. The environment leads to its DynamoDB on a port of this machine."""
    with Endpoint() as endpoint, pytest.MonkeyPatch.context() as environment:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
        for name, text in zip(names, ("testing", "testing", "us-east-1", endpoint.url), strict=True):
            environment.setenv(name, text)
        endpoint.client("dynamodb").create_table(**table_definition("promises"))
        yield "promises"


def test_second_server_on_a_table_offers_its_tasks(table: str) -> None:
    with serving(table=table) as api, api.poll("clients", "c") as client:
        now = api.create("timer", timeout_at=FAR)["createdAt"]
        api.create("t", timeout_at=now + 500, **{"resonate:timer": "true"})
        api.ask("promise.register_listener", awaited="t", address="poll://uni@clients/c")
        assert client.message()["data"]["promise"]["state"] == "resolved"
        api.create("job", "poll://any@g")
        assert api.http("GET", "/ready")[0] == 200

    with serving(table=table) as api, api.poll("g", "1") as worker:
        assert worker.task() == "job"


def test_table_on_this_machine_is_swept_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint, interval_ms in (("", 60_000), ("http://127.0.0.1:4566", 1_000)):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with patch.object(DynamoStore, "record"), patch("resonate_infra.server.table.TableStore") as opened:
            opened.side_effect = StoreError("seen enough")
            with pytest.raises(CannotServe, match="seen enough"):
                Server(ServerOptions(port=0, table="promises"))
        assert opened.call_args.args[1] == interval_ms


@pytest.mark.usefixtures("table")
def test_missing_table_is_an_error_at_start() -> None:
    with pytest.raises(CannotServe, match="nowhere"):
        Server(ServerOptions(port=0, table="nowhere"))


# The end


def test_stopped_server_ends_streams_and_frees_the_port() -> None:
    with serving() as api:
        stream = api.poll("g", "1").__enter__()
    assert stream.line() == ""
    Server(ServerOptions(port=api.port)).close()


def test_server_whose_file_was_renamed_refuses_writes(tmp_path: Path) -> None:
    data, renamed = tmp_path / "promises.db", tmp_path / "renamed.db"
    with serving(data=str(data)) as api:
        api.create("before")
        data.rename(renamed)
        assert "promises.db' was moved" in api.ask("promise.create", 503, id="after", timeoutAt=FAR)
        status, _, why = api.http("GET", "/ready")
        assert (status, b"promises.db' was moved" in why) == (503, True)
    with serving(data=str(renamed)) as api:
        assert api.ask("promise.get", id="before")["promise"]["state"] == "pending"
        api.ask("promise.get", 404, id="after")


def test_development_server_offers_a_task_every_30_seconds() -> None:
    clock = ManualClock(NOW)
    server = Server(ServerOptions(port=0), clock)
    sent: list[Any] = []
    server.store.subscribe(send=lambda *message: sent.append(message))
    server.store.apply(PromiseCreate("job", FAR, tags={"resonate:target": "poll://any@g"}))
    for _ in range(5):
        clock.advance(30_000)
        server.store.tick()
    server.close()

    assert len(sent) == 6
