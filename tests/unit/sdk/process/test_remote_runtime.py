"""Workers and clients of a server that is reached over HTTP, that comes and goes, and that may not let them poll."""

from __future__ import annotations

import binascii
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor
from resonate.errors import (
    ResonateHaltedError,
    ResonateShutdownError,
    ResonateStoreError,
    ResonateTimedoutError,
    SignatureError,
)
from resonate.stores import RemoteStore
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate_store.interface import StoreUnreachable
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    TaskAcquire,
    TaskContinue,
    TaskHalt,
    TaskRelease,
)
from resonate_store.model.tags import TARGET
from tests.support.driver import Flow
from tests.support.serving import PATIENCE, Serving, new_server  # noqa: F401

Connect = Callable[..., Resonate]


@pytest.fixture
def connect(serving: Serving) -> Iterator[Connect]:
    """Makes connections that are stopped when the test is over."""
    made: list[Resonate] = []

    def make(group: str = "default", **arguments: Any) -> Resonate:
        made.append(Resonate.remote(**{"url": serving.url, "group": group, "workers": 2, **arguments}))
        return made[-1]

    yield make
    for resonate in made:
        resonate.stop()


def threads() -> set[threading.Thread]:
    """The threads that belong to this package; other tests may have left some."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("resonate")}


def greeting(resonate: Resonate) -> Any:
    @resonate.register
    def greet(ctx: Context, name: str) -> Flow:
        words = yield ctx.run(lambda _: "hello")
        pending = yield ctx.begin_run(lambda _: name)
        yield ctx.sleep(0.01)
        return f"{words} {yield pending}"

    return greet


def test_a_server_need_not_see_payloads(connect: Connect, serving: Serving) -> None:
    encryptor = AESGCMEncryptor({"k": bytes(32)})
    greet = greeting(connect(group="worker", encryptor=encryptor))
    client = connect(group="client", encryptor=encryptor)

    assert greet.run("a", "world") == "hello world"
    assert client.options(target="poll://any@worker").rpc("b", "greet", "you") == "hello you"
    assert client.get("a").result(PATIENCE) == "hello world"
    kept = [payload.data for record in serving.store.records() for payload in (record.param, record.value)]
    shown = b"".join(binascii.a2b_base64(data) for data in kept if data is not None)
    assert shown
    assert not [word for word in (b"hello", b"world", b"you") if word in shown]


# -- work -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_a_function_runs_here(connect: Connect, serving: Serving, workers: int) -> None:
    greet = greeting(connect(workers=workers))

    assert greet.run("a", "world") == "hello world"
    assert greet.begin_run("b", "you").result(PATIENCE) == "hello you"
    assert greet.run("a", "again") == "hello world"
    assert serving.count("task.acquire") == 0
    record = serving.store.record("a")
    assert record is not None
    assert record.tags[TARGET] == "poll://any@default"


def test_a_function_runs_at_a_worker(connect: Connect, serving: Serving) -> None:
    worker, client = connect("worker"), connect("client")
    greeting(worker)
    worker.start()
    serving.wait_for_stream("worker")

    assert client.options(target="worker").rpc("a", "greet", "world") == "hello world"
    assert serving.count("task.create") == 0


def test_call_without_target_goes_to_group_that_registered_function(connect: Connect, serving: Serving) -> None:
    worker, client, default = connect("workers"), connect("clients"), connect()

    @worker.register
    def f(_: Context, x: int) -> int:
        return x

    @worker.register
    def generator(ctx: Context) -> Flow:
        begun = yield ctx.begin_rpc("f", 2)
        yield ctx.detached(f, 3)
        return [(yield ctx.rpc(f, 1)), (yield begun), (yield ctx.rpc("g", 4))]

    @worker.register
    async def coroutine(ctx: Context) -> Any:
        return [await ctx.rpc(f, 5), await ctx.rpc("g", 6)]

    default.register(lambda _, x: -x, name="g")
    for group, resonate in (("workers", worker), ("default", default)):
        resonate.start()
        serving.wait_for_stream(group)
    there = client.options(target="workers")

    assert there.rpc("a", "generator") == [1, 2, -4]
    assert there.rpc("b", "coroutine") == [5, -6]
    assert worker.rpc("c", f, 7) == 7
    assert client.rpc("d", "g", 8) == -8
    worker.schedule("own", f, "@yearly", 1)
    worker.schedule("other", "g", "@yearly", 1)
    groups = {
        record.tags[TARGET].removeprefix("poll://any@") + " " + record.tags["resonate:func"]
        for record in serving.store.records()
        if TARGET in record.tags
    }
    assert groups == {"workers generator", "workers coroutine", "workers f", "default g"}
    assert [each.schedules.get(id).promise_tags[TARGET] for each, id in ((worker, "own"), (worker, "other"))] == [
        "poll://any@workers",
        "poll://any@default",
    ]


def test_argument_that_does_not_fit_is_the_same_error_over_http(connect: Connect, serving: Serving) -> None:
    worker, client = connect("worker"), connect("client")
    greet = greeting(worker)
    worker.start()
    serving.wait_for_stream("worker")

    for call in (lambda: client.options(target="worker").rpc("a", "greet", 5), lambda: greet.run("b", 5)):  # type: ignore[arg-type]
        with pytest.raises(SignatureError) as refused:
            call()
        assert refused.value.mesg == "greet: name: expected str, got int"


def test_a_workflow_sleeps_suspended_and_calls_others(connect: Connect, serving: Serving) -> None:
    worker, client = connect("worker"), connect("client")

    @worker.register
    def parent(ctx: Context) -> Flow:
        yield ctx.sleep(1.1)
        children = []
        for n in range(3):
            children.append((yield ctx.begin_rpc("child", n).options(target="worker")))
        total = 0
        for child in children:
            total += yield child
        return total

    @worker.register
    def child(_: Context, n: int) -> int:
        return n + 1

    worker.start()
    serving.wait_for_stream("worker")
    handle = client.options(target="poll://any@worker").begin_rpc("p", func="parent")
    serving.wait_for("task.suspend")

    assert handle.result(PATIENCE) == 6


def test_what_a_workflow_begins_is_known_to_the_server_when_it_goes_on(connect: Connect) -> None:
    worker = connect("worker")

    @worker.register
    def parent(ctx: Context) -> Flow:
        call = yield ctx.begin_rpc("nobody").options(target="elsewhere")
        question = yield ctx.promise()
        found = [worker.promises.get(id=call.id).state, worker.promises.get(id=question.id).state]
        worker.promises.resolve(id=call.id, data="1")
        worker.promises.resolve(id=question.id, data="2")
        return [*found, (yield call), (yield question)]

    assert worker.run("p", parent) == ["PENDING", "PENDING", 1, 2]


def test_a_waiting_client_is_told(connect: Connect, serving: Serving) -> None:
    client = connect("client")
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    client.start()
    serving.wait_for_stream("client")
    waiting = client.get("p").future
    serving.wait_for("promise.register_listener")
    serving.wait_for("promise.get", 2)
    # Only a message can bring the outcome.
    serving.before = lambda kind: 503 if kind == "promise.get" else None
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None


def test_a_message_that_got_lost_is_made_up_for(
    connect: Connect, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.REFRESH_S", 0.05)
    serving.store.subscribe(send=lambda *_: None)
    client = connect("client")
    client.start()
    serving.wait_for_stream("client")
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    waiting = client.get("p").future
    serving.wait_for("promise.register_listener", 3)
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None


def test_waiting_without_a_worker_of_the_target_is_logged_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.UNSERVED_MS", 0)
    handle = connect("client").options(target="svcc").begin_rpc("a", "f")
    with pytest.raises(TimeoutError):
        handle.result(0.1)

    told = [record.getMessage() for record in caplog.records if record.name == "resonate.runtime"]
    assert told == ["a is waiting for a worker of svcc; none is connected"]


def test_a_question_registers_nothing(connect: Connect, serving: Serving) -> None:
    client = connect("client")
    client.start()
    serving.wait_for_stream("client")
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    handle = client.get("p")

    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0)
    assert serving.count("promise.register_listener") == 0


def test_where_nobody_can_poll_promises_are_read(connect: Connect, serving: Serving) -> None:
    serving.streaming = False
    client = connect("client")
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    waiting = client.get("p").future
    serving.wait_for("promise.get", 4)
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None
    assert serving.count("promise.register_listener") == 0


def test_leases_are_extended_an_execution_at_a_time(connect: Connect, serving: Serving) -> None:
    resonate = connect(ttl=1, workers=4)
    beats: list[list[str]] = []
    apply = serving.store.apply

    def note(request: Any) -> Any:
        if request.kind == "task.heartbeat":
            beats.append([task.id for task in request.tasks])
        return apply(request)

    serving.store.apply = note  # type: ignore[method-assign]

    @resonate.register
    def long(_: Context) -> str:
        serving.wait_for("task.heartbeat", 4)
        return "done"

    handles = [resonate.begin_run(id, long) for id in ("a", "a.1", "b")]
    assert [handle.result(PATIENCE) for handle in handles] == ["done"] * 3
    assert ["a", "a.1"] in beats
    assert ["b"] in beats
    assert all(len({id[0] for id in beat}) == 1 for beat in beats)


def test_a_lease_is_kept_while_the_task_waits_for_its_turn(connect: Connect, serving: Serving) -> None:
    resonate = connect(workers=1, ttl=1)
    ran: list[str] = []

    @resonate.register
    def f(ctx: Context) -> None:
        ran.append(ctx.id)
        if ctx.id == "first":
            serving.wait_for("task.heartbeat", 6)

    handles = [resonate.begin_run(id, f) for id in ("first", "second")]
    for handle in handles:
        handle.result(PATIENCE)
    record = serving.store.record("second")
    assert ran == ["first", "second"]
    assert record is not None
    assert record.task is not None
    assert record.task.version == 1


def test_who_has_lost_a_task_writes_nothing_more(connect: Connect, serving: Serving) -> None:
    resonate = connect()
    first = threading.Event()

    @resonate.register
    def f(ctx: Context) -> Flow:
        yield ctx.run(step)
        first.set()
        yield ctx.run(lose)
        raise AssertionError("it went on")

    def step(_: Context) -> None: ...

    def lose(_: Context) -> None:
        serving.store.subscribe(send=lambda *_: None)
        serving.store.apply(TaskRelease("w", 1, handover=True))
        serving.store.apply(TaskAcquire("w", 1, "other", 60_000))

    handle = resonate.begin_run("w", f)
    assert first.wait(PATIENCE)
    serving.wait_for("task.fence", 3)
    with pytest.raises(TimeoutError):
        handle.result(0.05)
    resonate.stop()
    record = serving.store.record("w")
    assert record is not None
    assert record.task is not None
    assert (record.state, record.task.state, record.task.pid) == ("pending", "acquired", "other")
    assert serving.store.record("w.2") is None
    assert serving.count("task.release") == 0


def _generator(step: Callable[..., None]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for n in range(4):
            yield ctx.run(step, n)

    return workflow


def _coroutine(step: Callable[..., None]) -> Callable[..., Any]:
    async def workflow(ctx: Context) -> None:
        for n in range(4):
            await ctx.run(step, n)

    return workflow


def _begun(step: Callable[..., None]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for n in range(4):
            yield (yield ctx.begin_run(step, n))

    return workflow


@pytest.mark.parametrize("spelling", [_generator, _coroutine, _begun])
@pytest.mark.parametrize("place", ["memory", "http"])
def test_old_attempt_begins_nothing_beside_a_newer_one(
    connect: Connect, serving: Serving, monkeypatch: pytest.MonkeyPatch, place: str, spelling: Callable[..., Any]
) -> None:
    """After halt and continue one process has both, and each step that the newer one has still to run runs once."""
    local = Resonate.local(workers=2)
    resonate, store = (local, local.store) if place == "memory" else (connect(), serving.store)
    ran: list[int] = []
    first, second, ended = threading.Event(), threading.Event(), threading.Event()

    def note(self: Worker, *arguments: Any, **keywords: Any) -> Report:
        report = work(self, *arguments, **keywords)
        if report.status == "lost":
            ended.set()
        return report

    work = Worker.run_acquired
    monkeypatch.setattr(Worker, "run_acquired", note)

    def step(_: Context, n: int) -> None:
        ran.append(n)
        if ran == [0, 1]:
            first.set()
            assert second.wait(PATIENCE)
        elif ran == [0, 1, 1]:
            second.set()
            assert ended.wait(PATIENCE)

    resonate.register(spelling(step), name="w")
    resonate.start()
    if place == "http":
        serving.wait_for_stream("default")
    try:
        handle = resonate.begin_run("w", "w")
        assert first.wait(PATIENCE)
        assert store.apply(TaskHalt("w")).ok
        assert store.apply(TaskContinue("w")).ok
        handle.result(PATIENCE)
    finally:
        local.stop()

    assert ran == [0, 1, 1, 2, 3]


def test_who_knows_no_function_takes_no_task(
    connect: Connect, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect("default")
    client.start()
    serving.wait_for_stream("default")
    handle = client.begin_rpc("w", "greet", "world")
    with pytest.raises(TimeoutError):
        handle.result(0.1)

    record = serving.store.record("w")
    assert record is not None
    assert record.task is not None
    assert (record.task.version, record.task.attempts) == (0, 0)
    assert "task w was offered here, where no function is registered" in caplog.text


def test_steps_left_behind_hold_up_no_polling_worker(connect: Connect, serving: Serving) -> None:
    enough = threading.Event()
    worker, client = connect("worker", workers=2), connect("client")

    @worker.register
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(hangs).options(timeout=0.05)
        except ResonateTimedoutError as error:
            return error.id

    def hangs(_: Context) -> None:
        enough.wait(PATIENCE)

    worker.start()
    serving.wait_for_stream("worker")
    handles = [client.options(target="worker").begin_rpc(f"w{n}", "workflow") for n in range(4)]

    assert [handle.result(PATIENCE) for handle in handles] == [f"w{n}.1" for n in range(4)]
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    enough.set()


def test_a_halted_task_is_an_error(connect: Connect, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.REFRESH_S", 0.05)
    client = connect("client")
    handle = client.options(target="nobody").begin_rpc("w", "f")
    serving.store.apply(TaskHalt("w", reason="poison"))
    with pytest.raises(ResonateHaltedError, match="poison"):
        handle.result(PATIENCE)


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_restarted_is_found_again_by_worker_and_client(connect: Connect, serving: Serving) -> None:
    worker, client = connect("worker"), connect("client")

    @worker.register
    def f(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(id="answer")))

    for resonate in (worker, client):
        resonate.start()
    for group in ("worker", "client"):
        serving.wait_for_stream(group)
    waiting = client.options(target="worker").begin_rpc("w", "f").future
    serving.wait_for("task.suspend")
    serving.stop()
    serving.start()
    for group in ("worker", "client"):
        serving.wait_for_stream(group)
    serving.store.apply(PromiseSettle("answer", "resolved"))

    assert waiting.result(PATIENCE) is None


@pytest.mark.parametrize("kind", ["task.create", "task.fence", "task.suspend", "task.fulfill", "promise.create"])
@pytest.mark.parametrize("fault", ["drop", 503])
def test_no_step_is_repeated_when_a_response_gets_lost(
    connect: Connect, serving: Serving, kind: str, fault: str | int
) -> None:
    resonate = connect()
    ran: list[str] = []
    once = iter([fault])
    serving.before = lambda found: next(once, None) if found == kind else None

    @resonate.register
    def f(ctx: Context) -> Flow:
        yield ctx.run(step)
        yield ctx.sleep(1.1)
        yield ctx.run(step)
        return "done"

    def step(ctx: Context) -> None:
        ran.append(ctx.id)

    resonate.start()
    serving.wait_for_stream("default")
    assert f.begin_run("w").result(PATIENCE) == "done"
    assert ran == ["w.1", "w.3"]
    assert next(once, "used") == "used"


def test_a_result_is_waited_for_as_long_as_the_caller_says(connect: Connect, serving: Serving) -> None:
    client = connect("client")
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    handle = client.get("p")
    serving.stop()

    with pytest.raises(TimeoutError):
        handle.result(0.3)


def test_a_question_to_a_server_that_is_away_is_an_error(connect: Connect, serving: Serving) -> None:
    client = connect("client", timeout=0.2)
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    handle = client.get("p")
    serving.stop()

    with pytest.raises(StoreUnreachable, match="cannot be reached"):
        handle.done()


def test_stop_does_not_wait_for_a_server_that_is_away(connect: Connect, serving: Serving) -> None:
    before_all = threads()
    resonate = connect()
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def f(ctx: Context) -> Flow:
        yield ctx.run(step)

    def step(_: Context) -> None:
        running.set()
        assert enough.wait(PATIENCE)

    waiting = resonate.begin_run("w", f).future
    assert running.wait(PATIENCE)
    serving.stop()
    enough.set()
    before = serving.clock.now()
    resonate.stop()

    assert serving.clock.now() - before < 3_000
    assert threads() <= before_all
    with pytest.raises(ResonateShutdownError):
        waiting.result(PATIENCE)


def test_nothing_is_left_after_stop_and_a_new_start_goes_on(connect: Connect, serving: Serving) -> None:
    before = threads()
    resonate = connect()
    greet = greeting(resonate)
    for id in ("a", "b"):
        assert greet.begin_run(id, "world").result(PATIENCE) == "hello world"
        serving.wait_for_stream("default")
        resonate.stop()
        assert threads() <= before


def test_a_refusal_has_the_code_of_the_protocol(connect: Connect, serving: Serving) -> None:
    client = connect()
    with pytest.raises(ResonateStoreError) as caught:
        client.get("nobody")
    assert caught.value.code == 100.404
    with pytest.raises(ResonateStoreError, match="is not an address") as caught:
        client.options(target="ftp://x").begin_rpc("w", "f")
    assert caught.value.status == 400
    assert serving.store.records() == []


# -- the connection ---------------------------------------------------------------------------------------------------


def test_the_environment_selects_the_server(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_URL", serving.url)
    for resonate in (Resonate(), Resonate.remote()):
        assert isinstance(resonate.store, RemoteStore)
        assert resonate.store.apply(PromiseGet("p")).status == 404
        resonate.stop()
    assert not isinstance(Resonate.local().store, RemoteStore)


def test_ports_may_be_texts_or_numbers(serving: Serving) -> None:
    for port in (serving.port, str(serving.port)):
        resonate = Resonate.remote(host="http://127.0.0.1", store_port=port, message_source_port=port, group="g")
        resonate.start()
        serving.wait_for_stream("g")
        resonate.stop()


def test_a_signed_api_is_not_polled() -> None:
    resonate = Resonate.remote(url="https://abc.execute-api.eu-west-1.amazonaws.com")
    resonate.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "resonate-poll"]
    resonate.stop()


def test_a_message_source_can_be_given(serving: Serving) -> None:
    from resonate.message_sources import Poller

    source = Poller("elsewhere", "p", url=serving.url)
    resonate = Resonate(store=RemoteStore(serving.url), message_source=source)
    resonate.start()
    serving.wait_for_stream("elsewhere")
    resonate.stop()
    with pytest.raises(TypeError, match="message_source must be a `MessageSource`, got str"):
        Resonate(message_source="poll://")  # type: ignore[arg-type]
