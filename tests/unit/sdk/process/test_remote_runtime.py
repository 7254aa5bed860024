"""Workers and clients of a server that is reached over HTTP."""

from __future__ import annotations

import binascii
from functools import partial
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor
from resonate_store.model.requests import PromiseSettle, TaskGet
from resonate_store.model.tags import TARGET
from tests.support.driver import Flow
from tests.support.present import present
from tests.support.serving import Serving
from tests.support.steps import PATIENCE
from tests.support.watched_stores import Connect, threads


def greeting(resonate: Resonate) -> Any:
    @resonate.register
    def greet(ctx: Context, name: str) -> Flow:
        words = yield ctx.run(lambda _: "hello")
        pending = yield ctx.begin_run(lambda _: name)
        yield ctx.sleep(0.01)
        return f"{words} {yield pending}"

    return greet


def test_server_of_encrypted_clients_sees_no_payload(remote: Connect, serving: Serving) -> None:
    encryptor = AESGCMEncryptor({"k": bytes(32)})
    greet = greeting(remote(group="worker", encryptor=encryptor))
    client = remote(group="client", encryptor=encryptor)

    assert greet.run("a", "world") == "hello world"
    assert client.options(target="poll://any@worker").rpc("b", "greet", "you") == "hello you"
    assert client.get("a").result(PATIENCE) == "hello world"
    kept = [payload.data for record in serving.store.records() for payload in (record.param, record.value)]
    shown = b"".join(binascii.a2b_base64(data) for data in kept if data is not None)
    assert shown
    assert not [word for word in (b"hello", b"world", b"you") if word in shown]


def test_function_runs_in_the_process_that_begins_it(remote: Connect, serving: Serving) -> None:
    for workers in (1, 4):
        greet = greeting(remote(workers=workers))
        assert greet.run(f"a{workers}", "world") == "hello world"
        assert greet.begin_run(f"b{workers}", "you").result(PATIENCE) == "hello you"
        assert greet.run(f"a{workers}", "again") == "hello world"
    assert serving.count("task.acquire") == 0
    assert present(serving.store.record("a1")).tags[TARGET] == "poll://any@default"


def test_call_without_target_reaches_group_that_registered_function(remote: Connect, serving: Serving) -> None:
    worker, client, default = remote("workers"), remote("clients"), remote()

    f = worker.register(lambda _, x: x, name="f")

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
    assert serving.count("task.create") == 0
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


def test_client_without_functions_takes_no_task(
    remote: Connect, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    client = remote("default")
    client.start()
    serving.wait_for_stream("default")
    handle = client.begin_rpc("w", "greet", "world")
    with pytest.raises(TimeoutError):
        handle.result(0.1)

    task = present(present(serving.store.record("w")).task)
    assert (task.version, task.attempts) == (0, 0)
    assert "task w was offered here, where no function is registered" in caplog.text


def test_restarted_server_is_found_by_worker_and_client(remote: Connect, serving: Serving) -> None:
    worker, client = remote("worker"), remote("client")

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


def test_lost_or_failed_response_repeats_no_step(remote: Connect, serving: Serving, subtests: pytest.Subtests) -> None:
    resonate = remote()
    ran: list[str] = []
    faults: dict[str, str | int] = {}
    serving.before = lambda kind: faults.pop(kind, None)

    @resonate.register
    def f(ctx: Context) -> Flow:
        yield ctx.run(step)
        yield ctx.sleep(3600)
        yield ctx.run(step)
        return "done"

    def step(ctx: Context) -> None:
        ran.append(ctx.id)

    def is_suspended(id: str) -> bool:
        task = serving.store.apply(TaskGet(id)).task
        return task is not None and task.state == "suspended"

    resonate.start()
    serving.wait_for_stream("default")
    for id, fault in (("dropped", "drop"), ("failed", 503)):
        with subtests.test(fault=fault):
            for kind in ("task.create", "task.record", "task.suspend", "task.fulfill", "promise.create"):
                faults[kind] = fault
            handle = f.begin_run(id)
            serving.wait_until(partial(is_suspended, id), "the suspension")
            assert serving.store.apply(PromiseSettle(f"{id}.2", "resolved")).ok
            assert handle.result(PATIENCE) == "done"
            assert ran[-2:] == [f"{id}.1", f"{id}.3"]
            assert faults == {}
    assert len(ran) == 4


def test_execution_continues_in_generations_on_separate_workers(remote: Connect, serving: Serving) -> None:
    """Each of two workers continues what the other has begun; a client in a third process waits on."""
    ran: list[tuple[str, int]] = []

    def serve(name: str) -> Resonate:
        resonate = remote(group="workers")

        @resonate.register
        def monitor(ctx: Context, n: int) -> Flow:
            n = yield ctx.run(lambda _, n: n + 1, n)
            ran.append((name, ctx.info.generation))
            yield ctx.sleep(0.05)
            if n < 8:
                return ctx.continue_as(n)
            return [n, ctx.info.generation]

        resonate.start()
        return resonate

    for name in ("a", "b"):
        serve(name)
    serving.wait_for_stream("workers", 2)
    client = remote(group="client")
    handle = client.options(target="workers").begin_rpc("w", "monitor", 0)
    assert handle.result(PATIENCE) == [8, 8]
    assert {generation for _, generation in ran} == set(range(1, 9))
    assert serving.count("task.continue_as") == 7
    ids = [record.id for record in serving.store.records()]
    assert ids == ["w", "w.8+0", "w.8+1", "w.8+2"]


def test_remote_worker_leaves_no_thread_after_stop(remote: Connect, serving: Serving) -> None:
    before = threads()
    resonate = remote()
    greet = greeting(resonate)
    for id in ("a", "b"):
        assert greet.begin_run(id, "world").result(PATIENCE) == "hello world"
        serving.wait_for_stream("default")
        resonate.stop()
        assert threads() <= before
