"""Callers that wait for a promise: in memory, in a store elsewhere, and at a server that sends messages or not."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateHaltedError, ResonateShutdownError, ResonateStoreError
from resonate_store.interface import StoreUnreachable
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle, TaskContinue, TaskHalt, TaskSuspend
from tests.support.driver import Flow
from tests.support.serving import Serving
from tests.support.steps import PATIENCE
from tests.support.watched_stores import Connect, Elsewhere, Memory


def test_promise_elsewhere_is_read_until_it_is_settled(connect: Connect) -> None:
    behind = MemoryStore()
    resonate = connect(store=Elsewhere(behind))
    behind.apply(PromiseCreate("p", behind.clock.now() + 60_000))
    handle = resonate.get("p")

    with pytest.raises(TimeoutError):
        handle.result(0.03)
    threading.Timer(0.05, lambda: behind.apply(PromiseSettle("p", "resolved"))).start()
    assert handle.result(PATIENCE) is None


def test_waiter_in_memory_reads_only_settled_promises(local: Resonate, memory: Memory) -> None:
    handle = local.get("p")
    threading.Timer(0.1, lambda: memory.apply(PromiseSettle("p", "resolved"))).start()
    before = memory.count(PromiseGet)

    assert handle.result(PATIENCE) is None
    assert memory.count(PromiseGet) - before <= 3


def test_halted_task_is_raised_with_its_reason(local: Resonate, memory: Memory) -> None:
    @local.register
    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(id="p")))

    handle = workflow.begin_run("w")
    memory.wait_for(TaskSuspend)
    memory.apply(TaskHalt("w", reason="poison"))
    with pytest.raises(ResonateHaltedError, match="Task w is halted: poison"):
        handle.result(PATIENCE)
    with pytest.raises(ResonateHaltedError, match="poison"):
        handle.done()

    memory.apply(PromiseSettle("p", "resolved"))
    memory.apply(TaskContinue("w"))
    assert handle.result(PATIENCE) is None


def test_missing_promise_is_raised_by_its_waiter(local: Resonate, memory: Memory) -> None:
    handle = local.get("p")
    memory.clear()

    with pytest.raises(ResonateStoreError, match="was not found") as caught:
        handle.result()
    assert caught.value.code == 100.404


@pytest.mark.parametrize("elsewhere", [False, True])
def test_stop_is_raised_by_waiters_until_a_new_start(connect: Connect, elsewhere: bool) -> None:
    behind = Memory()
    store = Elsewhere(behind) if elsewhere else behind
    resonate = connect(store=store)
    resonate.start()
    behind.apply(PromiseCreate("p", behind.clock.now() + 60_000))
    handle = resonate.get("p")
    waiting = handle.future
    store.wait_for(PromiseGet, 2)
    resonate.stop()
    with pytest.raises(ResonateShutdownError, match="stopped while waiting for p"):
        waiting.result(PATIENCE)

    resonate.start()
    before = store.count(PromiseGet)
    with pytest.raises(TimeoutError):
        handle.result(0.1)
    assert store.count(PromiseGet) - before < 10, "it waits, and does not read all the time"
    behind.apply(PromiseSettle("p", "resolved"))
    assert handle.result(PATIENCE) is None


def test_waiting_client_gets_the_outcome_by_message(client: Resonate, serving: Serving) -> None:
    client.start()
    serving.wait_for_stream("client")
    waiting = client.get("p").future
    serving.wait_for("promise.register_listener")
    serving.wait_for("promise.get", 2)
    # Only a message can bring the outcome.
    serving.before = lambda kind: 503 if kind == "promise.get" else None
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None


def test_lost_message_is_replaced_by_a_later_read(
    client: Resonate, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.REFRESH_S", 0.05)
    serving.store.subscribe(send=lambda *_: None)
    client.start()
    serving.wait_for_stream("client")
    waiting = client.get("p").future
    serving.wait_for("promise.register_listener", 3)
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None


def test_waiting_without_a_connected_worker_is_logged_once(
    remote: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.UNSERVED_MS", 0)
    handle = remote("client").options(target="svcc").begin_rpc("a", "f")
    with pytest.raises(TimeoutError):
        handle.result(0.1)

    logged = [record.getMessage() for record in caplog.records if record.name == "resonate.runtime"]
    assert logged == ["a is waiting for a worker of svcc; none is connected"]


def test_read_without_waiting_registers_no_listener(client: Resonate, serving: Serving) -> None:
    client.start()
    serving.wait_for_stream("client")
    handle = client.get("p")

    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0)
    assert serving.count("promise.register_listener") == 0


def test_waiter_of_a_server_without_streams_reads_promises(client: Resonate, serving: Serving) -> None:
    serving.streaming = False
    waiting = client.get("p").future
    serving.wait_for("promise.get", 4)
    serving.store.apply(PromiseSettle("p", "resolved"))

    assert waiting.result(PATIENCE) is None
    assert serving.count("promise.register_listener") == 0


def test_halted_task_at_a_server_is_raised(client: Resonate, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.process.promise_waiter.REFRESH_S", 0.05)
    handle = client.options(target="elsewhere").begin_rpc("w", "f")
    serving.store.apply(TaskHalt("w", reason="poison"))
    with pytest.raises(ResonateHaltedError, match="poison"):
        handle.result(PATIENCE)


def test_task_that_this_process_halts_is_raised_at_once(client: Resonate, serving: Serving) -> None:
    over = threading.Event()

    @client.register
    def endless(ctx: Context) -> Flow:
        yield ctx.run(lambda _: serving.wait_for("promise.register_listener"))
        while not over.is_set():
            with suppress(GeneratorExit):
                yield ctx.sleep(3600)

    began = time.monotonic()
    with pytest.raises(ResonateHaltedError, match="catches GeneratorExit"):
        endless.begin_run("w").result(PATIENCE)
    assert time.monotonic() - began < PATIENCE  # at its end, the wait reads the promise anyway
    over.set()


def test_unreachable_server_fails_reads_and_waits_in_time(client: Resonate, remote: Connect, serving: Serving) -> None:
    handle, hasty = client.get("p"), remote("hasty", timeout=0.2).get("p")
    serving.stop()

    with pytest.raises(TimeoutError):
        handle.result(0.3)
    with pytest.raises(StoreUnreachable, match="cannot be reached"):
        hasty.done()
