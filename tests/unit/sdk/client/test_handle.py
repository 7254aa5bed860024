from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from msgspec.structs import replace

from resonate import Handle
from resonate.errors import PayloadError, ResonateShutdownError, ResonateTimedoutError
from resonate.payloads import codec
from resonate_store.model.records import EMPTY, PromiseState, PromiseView, Value

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


class Outside:
    """Whoever waits for the promise: pending until `settle`."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []
        self._settled = threading.Event()
        self._promise: PromiseView | Exception | None = None

    def settle(self, value: Any = None, state: PromiseState = "resolved") -> None:
        payload = codec.encode_error(value) if isinstance(value, Exception) else codec.encode(value, "a value")
        self._promise = PromiseView(
            id="p", state=state, param=EMPTY, value=payload, tags={}, timeout_at=1_500, created_at=0, settled_at=1
        )
        self._settled.set()

    def fail(self, error: Exception) -> None:
        self._promise = error
        self._settled.set()

    def settled(self, _: str, timeout: float | None) -> PromiseView | None:
        self.asked.append(timeout)
        self._settled.wait(PATIENCE if timeout is None else timeout)
        if isinstance(self._promise, Exception):
            raise self._promise
        return self._promise


@pytest.fixture
def outside() -> Outside:
    return Outside()


def test_making_a_handle_asks_nothing(outside: Outside) -> None:
    handle: Handle[Any] = Handle("p", outside)

    assert (handle.id, repr(handle), outside.asked) == ("p", "Handle(id='p')", [])


def test_a_result_is_restored_to_its_type(outside: Outside) -> None:
    outside.settle([1, 2])

    assert Handle("p", outside, tuple[int, int]).result() == (1, 2)
    assert Handle("p", outside).result(PATIENCE) == [1, 2]


@pytest.mark.parametrize(
    ("value", "state", "error"),
    [(KeyError("x"), "rejected", KeyError), (None, "rejected_timedout", ResonateTimedoutError)],
)
def test_an_error_is_raised_however_one_waits(
    outside: Outside, value: Any, state: PromiseState, error: type[Exception]
) -> None:
    outside.settle(value, state)
    handle: Handle[Any] = Handle("p", outside)

    async def wait() -> None:
        await handle

    assert handle.done()
    for attempt in (handle.result, handle.result, handle.future.result, lambda: asyncio.run(wait())):
        with pytest.raises(error):
            attempt()


def test_a_handle_can_be_asked_again_after_a_timeout(outside: Outside) -> None:
    handle: Handle[str] = Handle("p", outside)

    assert not handle.done()
    with pytest.raises(TimeoutError, match=r"p has no outcome after 0.01 seconds"):
        handle.result(0.01)
    outside.settle("at last")
    assert handle.done()
    assert handle.result(0) == "at last"


def test_a_handle_can_be_awaited_by_several(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)

    async def wait() -> int:
        return await handle

    async def main() -> list[int]:
        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        outside.settle(42)
        return await asyncio.gather(*waiting, wait())

    assert asyncio.run(main()) == [42] * 4
    assert outside.asked == [None], "one thread waits for all"


def test_giving_up_on_an_await_harms_nobody_else(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)

    async def wait() -> int:
        return await handle

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.01)
        outside.settle(42)
        return await wait()

    assert asyncio.run(main()) == 42
    assert handle.future.result(PATIENCE) == handle.result() == 42


def test_who_waits_is_told_of_a_shutdown(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)
    future = handle.future
    outside.fail(ResonateShutdownError("stopped"))

    with pytest.raises(ResonateShutdownError, match="stopped"):
        future.result(PATIENCE)
    with pytest.raises(ResonateShutdownError, match="stopped"):
        handle.result()


def test_a_payload_that_cannot_be_read_is_an_error(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)
    outside.settle()
    assert isinstance(outside._promise, PromiseView)
    outside._promise = replace(outside._promise, value=Value(data="bm90IGpzb24="))

    with pytest.raises(PayloadError, match=r"is not (the base64 of )?JSON text"):
        handle.future.result(PATIENCE)
