"""`resonate.promises`: the calls and codes of the low-level store of SDK 0.6.7 (docs/protocol.md 4.2, 4.3)."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import PayloadError, ResonateStoreError
from resonate.payloads import codec
from resonate.promises import DurablePromise, DurableValue, Promises
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from tests.support.driver import Flow
from tests.support.ways import always_three_ways, three_ways

SOON = 60_000
CALLS = ("resolve", "reject", "cancel")
STATES = {"resolve": "RESOLVED", "reject": "REJECTED", "cancel": "REJECTED_CANCELED"}
CODES = {"resolve": 40301, "reject": 40302, "cancel": 40303}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def promises(clock: ManualClock) -> Promises:
    return Promises(MemoryStore(clock))


def code_of(error: pytest.ExceptionInfo[ResonateStoreError]) -> str:
    return str(error.value).split("]")[0].strip("[")


@always_three_ways
def test_endless_timeout_is_stored_as_the_last_instant(resonate: Resonate) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.detached(elsewhere).options(timeout=sys.maxsize)).id

    @resonate.register
    def elsewhere(_: Context) -> None:
        pass

    never = resonate.options(timeout=sys.maxsize)
    detached = never.run("w", workflow)
    never.rpc("r", elsewhere)
    resonate.promises.create("p", 2**70)

    assert resonate.promises.create("q", sys.maxsize).pending
    for id in ("p", "q", "r", "w", detached):
        assert resonate.promises.get(id).timeout == END_OF_TIME
    resonate.promises.resolve("q", data="1")
    assert resonate.get("q").result() == 1


def test_promise_is_read_as_it_was_created(promises: Promises, clock: ManualClock) -> None:
    created = promises.create("p", clock.now() + SOON, ikey="k", headers={"a": "b"}, data="text", tags={"t": "1"})

    assert created == promises.get("p")
    assert created == DurablePromise(
        id="p",
        state="PENDING",
        timeout=clock.now() + SOON,
        ikey_for_create="k",
        ikey_for_complete=None,
        param=DurableValue({"a": "b"}, "text"),
        value=DurableValue({}, None),
        tags={"t": "1", "resonate:idempotency-key": "k"},
        created_on=clock.now(),
        completed_on=None,
        store=promises,
    )
    assert (created.pending, created.completed) == (True, False)


def test_missing_promise_is_not_found(promises: Promises, subtests: pytest.Subtests) -> None:
    for call in ("get", *CALLS):
        with subtests.test(call):
            with pytest.raises(ResonateStoreError, match="not found") as caught:
                getattr(promises, call)("nothing")
            assert code_of(caught) == "100.40400"


def test_promise_created_again_needs_an_equal_key(
    promises: Promises, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    cases: list[tuple[str | None, str | None, bool, bool, bool]] = [
        ("k", "k", False, False, True),
        ("k", "k", True, False, True),
        ("k", "other", False, False, False),
        ("k", None, False, False, False),
        (None, None, False, False, False),
        (None, "k", False, False, False),
        ("k", "k", False, True, True),
        ("k", "k", True, True, False),
    ]
    for number, (first, second, strict, settled, accepted) in enumerate(cases):
        with subtests.test(first=first, second=second, strict=strict, settled=settled):
            id = f"p{number}"
            promises.create(id, clock.now() + SOON, ikey=first, data="first")
            if settled:
                promises.resolve(id)
            if accepted:
                again = promises.create(id, clock.now() + SOON, ikey=second, strict=strict, data="second")
                assert again == promises.get(id)
                assert again.param.data == "first"
            else:
                with pytest.raises(ResonateStoreError, match="already exists") as caught:
                    promises.create(id, clock.now() + SOON, ikey=second, strict=strict)
                assert code_of(caught) == "100.40900"


def test_settled_promise_has_state_value_key_and_instant(
    promises: Promises, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for call in CALLS:
        with subtests.test(call):
            promises.create(call, clock.now() + SOON)
            clock.advance(5)
            settled = getattr(promises, call)(call, ikey="k", headers={"a": "b"}, data="7")

            assert settled == promises.get(call)
            assert (settled.state, settled.completed_on, settled.ikey_for_complete) == (STATES[call], clock.now(), "k")
            assert settled.value == DurableValue({"a": "b"}, "7")
            assert [settled.resolved, settled.rejected, settled.canceled] == [call == each for each in CALLS]


def test_promise_settled_again_needs_equal_key_and_state_if_strict(
    promises: Promises, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for first, again, strict in itertools.product(CALLS, CALLS, (False, True)):
        with subtests.test(first=first, again=again, strict=strict):
            id = f"{first}-{again}-{strict}"
            promises.create(id, clock.now() + SOON)
            settled = getattr(promises, first)(id, ikey="k", data="1")

            for key in (None, "other"):
                with pytest.raises(ResonateStoreError, match="already") as caught:
                    getattr(promises, again)(id, ikey=key, strict=strict)
                assert code_of(caught) == f"100.{CODES[first]}"
            if not strict or first == again:
                assert getattr(promises, again)(id, ikey="k", strict=strict, data="2") == settled
            else:
                with pytest.raises(ResonateStoreError, match="already"):
                    getattr(promises, again)(id, ikey="k", strict=strict)
            assert promises.get(id) == settled


def test_promise_settled_after_its_timeout_is_timed_out(
    promises: Promises, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for call in CALLS:
        with subtests.test(call):
            promises.create(call, clock.now() + SOON)
            clock.advance(SOON)

            late = getattr(promises, call)(call)
            assert (late.state, late.timedout, late.completed_on) == ("REJECTED_TIMEDOUT", True, clock.now())
            with pytest.raises(ResonateStoreError, match="already timedout") as caught:
                getattr(promises, call)(call, strict=True)
            assert code_of(caught) == "100.40304"


def test_invalid_promise_is_refused_with_its_reason(promises: Promises) -> None:
    with pytest.raises(ResonateStoreError, match="the id is empty") as caught:
        promises.create("", 1)
    assert code_of(caught) == "100.40000"


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
