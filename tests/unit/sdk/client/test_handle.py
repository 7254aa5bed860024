"""Handles: the ways to wait for the outcome of an execution."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from msgspec.structs import replace

from resonate import Handle
from resonate.errors import PayloadError, ResonateShutdownError, ResonateStoreError, ResonateTimedoutError
from resonate.payloads import codec
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import EMPTY, PromiseState, PromiseView, Value
from resonate_store.model.requests import Request, Response
from tests.support.steps import PATIENCE


class Outside:
    """The awaiter of the promise, which is pending until `settle`."""

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

    def hold(self, value: Value) -> None:
        """Keep another value for the settled promise."""
        assert isinstance(self._promise, PromiseView)
        self._promise = replace(self._promise, value=value)

    def fail(self, error: Exception) -> None:
        self._promise = error
        self._settled.set()

    def ask(self, request: Request) -> Response:
        """Cancel the promise as a store does."""
        assert isinstance(request, PromiseCancel)
        if isinstance(self._promise, Exception):
            return Response(status=404, error=str(self._promise))
        if self._promise is None:
            pending = PromiseView(
                id="p", state="pending", param=EMPTY, value=EMPTY, tags={}, timeout_at=9, created_at=0
            )
            return Response(promise=pending, cancel="already" if request.reason == "again" else "accepted")
        return Response(promise=self._promise)

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:  # noqa: ARG002
        self.asked.append(timeout)
        self._settled.wait(PATIENCE if timeout is None else timeout)
        if isinstance(self._promise, Exception):
            raise self._promise
        return self._promise


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def wait(handle: Handle[Any]) -> Any:
    return await handle


def test_handle_reads_nothing_when_it_is_made(outside: Outside) -> None:
    handle: Handle[Any] = Handle("p", outside)

    assert (handle.id, repr(handle), outside.asked) == ("p", "Handle(id='p')", [])


@pytest.mark.parametrize(
    ("value", "state", "error"),
    [(KeyError("x"), "rejected", KeyError), (None, "rejected_timedout", ResonateTimedoutError)],
)
def test_error_is_raised_by_every_way_to_wait(
    outside: Outside, value: Any, state: PromiseState, error: type[Exception]
) -> None:
    outside.settle(value, state)
    handle: Handle[Any] = Handle("p", outside)

    assert handle.done()
    for attempt in (handle.result, handle.result, handle.future.result, lambda: asyncio.run(wait(handle))):
        with pytest.raises(error):
            attempt()


def test_handle_can_be_read_again_after_a_timeout(outside: Outside) -> None:
    handle: Handle[str] = Handle("p", outside)

    assert not handle.done()
    with pytest.raises(TimeoutError, match=r"p has no outcome after 0.01 seconds"):
        handle.result(0.01)
    outside.settle("at last")
    assert handle.done()
    assert handle.result(0) == "at last"


def test_handle_can_be_awaited_by_several_tasks(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)

    async def main() -> list[int]:
        waiting = [asyncio.create_task(wait(handle)) for _ in range(3)]
        await asyncio.sleep(0)
        outside.settle(42)
        return await asyncio.gather(*waiting, wait(handle))

    assert asyncio.run(main()) == [42] * 4
    assert outside.asked == [None], "one thread waits for all"


def test_cancelled_await_of_a_handle_keeps_other_awaits(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(handle), 0.01)
        outside.settle(42)
        return await handle

    assert asyncio.run(main()) == 42
    assert handle.future.result(PATIENCE) == handle.result() == 42


def test_shutdown_is_raised_by_a_waiting_handle(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)
    future = handle.future
    outside.fail(ResonateShutdownError("stopped"))

    with pytest.raises(ResonateShutdownError, match="stopped"):
        future.result(PATIENCE)
    with pytest.raises(ResonateShutdownError, match="stopped"):
        handle.result()


def test_value_that_cannot_be_read_is_raised_by_the_handle(outside: Outside) -> None:
    handle: Handle[int] = Handle("p", outside)
    outside.settle()
    outside.hold(Value(data="bm90IGpzb24="))

    with pytest.raises(PayloadError, match=r"is not (the base64 of )?JSON text"):
        handle.future.result(PATIENCE)


def test_handle_cancels_its_execution() -> None:
    outside = Outside()
    handle: Handle[Any] = Handle("p", outside)
    assert [handle.cancel(reason) for reason in ("first", "again")] == ["accepted", "already"]
    outside.settle(1)
    assert handle.cancel(force=True) == "resolved"
    outside.fail(ValueError("no such promise"))
    with pytest.raises(ResonateStoreError, match="no such promise"):
        handle.cancel()
    wrong: Any = 5
    with pytest.raises(TypeError, match="reason must be `str`"):
        handle.cancel(wrong)
