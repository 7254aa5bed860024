"""What workflows cost that sleep."""

import gc
import threading
import tracemalloc
from collections.abc import Generator
from typing import Any

import msgspec

from resonate import Context, Resonate, codec
from resonate_store.clock import ManualClock
from resonate_store.memory import MemoryStore
from resonate_store.records import TARGET, Record
from resonate_store.requests import PromiseCreate

COUNT = 10_000
MOST = 2_048
DAY = 86_400


def nap(ctx: Context) -> Generator[Any, Any, str]:
    yield ctx.sleep(DAY)
    return "rested"


def size_of(records: list[Record]) -> int:
    """What records by themselves take in memory: those of a copy."""
    encoded = msgspec.msgpack.encode(records)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    copies = msgspec.msgpack.decode(encoded, type=list[Record])
    after, _ = tracemalloc.get_traced_memory()
    assert len(copies) == len(records)
    return after - before


def test_ten_thousand_that_sleep_cost_no_thread_and_hardly_more_than_their_records() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    offered: list[dict[str, Any]] = []
    resonate = Resonate(store=store)
    resonate.register(nap)
    store.send = lambda _, message: offered.append(message)
    handler = resonate.handler()
    store.on_wake = None  # time passes when the test says so
    call = codec.encode({"func": "nap", "args": [], "kwargs": {}, "version": 1}, "the call")

    def begin(id: str) -> None:
        store.apply(PromiseCreate(id, clock.now() + 10 * DAY * 1000, call, {TARGET: "lambda://worker"}))
        assert handler(offered.pop(), None)["status"] == "suspended"

    begin("first")  # loads what is loaded once
    threads = threading.active_count()
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for n in range(COUNT):
            begin(f"w{n}")
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        records = store.records()
        assert len(records) == 2 * (COUNT + 1)
        beyond = (after - before - size_of(records)) / COUNT
    finally:
        tracemalloc.stop()

    assert threading.active_count() == threads
    assert beyond < MOST, f"{beyond:.0f} bytes each beyond the records"

    clock.advance(DAY * 1000)
    store.tick()
    assert len(offered) == COUNT + 1
    assert handler(offered.pop(), None)["status"] == "completed"
