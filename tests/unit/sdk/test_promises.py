"""`resonate.promises`: the calls and codes of the low-level store of SDK 0.6.7 (docs/protocol.md 4.2, 4.3)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import PayloadError, ResonateStoreError
from resonate.payloads import codec
from resonate.promises import Promises
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from tests.support.driver import Flow
from tests.support.ways import always_three_ways, three_ways


@pytest.fixture
def promises() -> Promises:
    return Promises(MemoryStore(ManualClock()))


@always_three_ways
def test_endless_timeout_is_stored_as_the_last_instant(resonate: Resonate) -> None:
    elsewhere = resonate.register(lambda _: None, name="elsewhere")

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.detached(elsewhere).options(timeout=sys.maxsize)).id

    never = resonate.options(timeout=sys.maxsize)
    detached = never.run("w", workflow)
    never.rpc("r", elsewhere)
    resonate.promises.create("p", 2**70)

    assert resonate.promises.create("q", sys.maxsize).pending
    for id in ("p", "q", "r", "w", detached):
        assert resonate.promises.get(id).timeout == END_OF_TIME
    resonate.promises.resolve("q", data="1")
    assert resonate.get("q").result() == 1


def test_promise_of_a_client_shows_the_tag_of_its_key(promises: Promises) -> None:
    """`stores/test_by_hand.py` has everything else that `Promises` does, with the tags of SDK 0.6.7."""
    created = promises.create("p", 2**50, ikey="k", tags={"t": "1"})

    assert created == promises.get("p")
    assert created.tags == {"t": "1", "resonate:idempotency-key": "k"}
    assert (created.pending, created.completed) == (True, False)


def test_invalid_promise_is_refused_with_its_reason(promises: Promises) -> None:
    with pytest.raises(ResonateStoreError, match=r"^\[100.40000\] .*the id is empty"):
        promises.create("", 1)


@three_ways
def test_value_of_a_promise_is_encoded_for_its_awaiter(resonate: Resonate, subtests: pytest.Subtests) -> None:
    resonate.promises.create("p", 2**50)
    assert resonate.promises.resolve("p", data="1").resolved
    assert resonate.get("p").result() == 1
    values: list[Any] = ["yes", None, {"by": "me"}, (1, 2), b"raw"]
    for number, value in enumerate(values):
        with subtests.test(value=value):
            id = f"p{number}"
            resonate.promises.create(id, 2**50)
            resonate.promises.resolve(id, ikey="k", headers={"a": "b"}, value=value)
            assert resonate.promises.resolve(id, ikey="k", value=value).value.headers["a"] == "b"
            assert resonate.get(id).result() == codec.decode(codec.encode(value, "a value"))
    for id, rejection, error in (("a", KeyError("no"), KeyError), ("b", "no", Exception)):
        resonate.promises.create(id, 2**50)
        resonate.promises.get(id).reject(value=rejection)
        with pytest.raises(error, match="no"):
            resonate.get(id).result()


@three_ways
def test_promise_is_not_settled_with_unusable_data_or_value(resonate: Resonate) -> None:
    resonate.promises.create("p", 2**50)
    promise = resonate.promises.get("p")
    for settle in (promise.resolve, promise.reject, promise.cancel):
        with pytest.raises(ValueError, match="data must be JSON, got 'yes': value='yes' encodes it"):
            settle("yes")
    with pytest.raises(TypeError, match="give one"):
        resonate.promises.resolve("p", data="1", value=1)
    with pytest.raises(PayloadError, match="the value of promise p cannot travel"):
        resonate.promises.resolve("p", value=object())

    assert resonate.promises.get("p").pending
