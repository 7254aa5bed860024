"""Sagas that are cancelled, time out, end or lose their worker in any order: one outcome, and each undo once."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from resonate import Context
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import Record
from resonate_store.model.requests import Request
from resonate_store.model.tags import FUNC
from tests.support.driver import Driver, Flow, Killed
from tests.support.hypothesis_settings import examples
from tests.support.present import present

ENDINGS = ["return", "raise", "compensate"]
ACTIONS = st.lists(st.sampled_from(["step", "nested", "remote"]), min_size=1, max_size=3)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 3, 5, 13, 21]),
        st.one_of(st.sampled_from(["cancel", "cancel", "force"]), st.tuples(st.just("kill"), st.integers(0, 6))),
    ),
    max_size=4,
)


def book(_: Context, number: int) -> int:
    return number


def undo(ctx: Context, number: int) -> Flow:
    yield ctx.sleep(2)
    return number


def reserve(ctx: Context, number: int) -> Flow:
    """Act for a while, and for a while longer if cancelled."""
    try:
        yield ctx.sleep(5)
    finally:
        yield ctx.sleep(3)
        yield ctx.run(book, number)
    return number


def release(ctx: Context, number: int) -> Flow:
    return (yield ctx.run(undo, number))


def trip(ctx: Context, actions: list[str], ending: str) -> Flow:
    saga = ctx.saga()
    for number, kind in enumerate(actions):
        match kind:
            case "step":
                yield saga.run(book, number, undo=(undo, number))
            case "nested":
                yield saga.run(reserve, number, undo=(undo, number))
            case _:
                yield saga.rpc(reserve, number, undo=ctx.rpc(release, number))
        yield ctx.sleep(4)
    if ending == "raise":
        raise LookupError("sold out")
    if ending == "compensate":
        yield saga.compensate()
    return "booked"


async def trip_async(ctx: Context, actions: list[str], ending: str) -> str:
    saga = ctx.saga()
    for number, kind in enumerate(actions):
        match kind:
            case "step":
                await saga.run(book, number, undo=(undo, number))
            case "nested":
                await saga.run(reserve, number, undo=(undo, number))
            case _:
                await saga.rpc(reserve, number, undo=ctx.rpc(release, number))
        await ctx.sleep(4)
    if ending == "raise":
        raise LookupError("sold out")
    if ending == "compensate":
        await saga.compensate()
    return "booked"


class Trips(Driver):
    """A driver whose events happen at their time.

    Attributes:
        accepted: whether a cancellation without force was accepted.
        forced_at: the instant at which one with force was accepted (ms).
    """

    def __init__(self, func: Any, actions: list[str], ending: str, timeout: float) -> None:
        super().__init__()
        self.accepted, self.forced_at = False, 0
        self._kill_in: int | None = None
        self.tap.after = self._after
        for function in (func, reserve, release):
            self.register(function)
        self.begin("w", func, actions, ending, timeout=timeout)

    def _after(self, _: Request | str) -> None:
        if self._kill_in is not None:
            self._kill_in -= 1
            if self._kill_in < 0:
                self._kill_in = None
                raise Killed

    def run_for(self, seconds: float) -> None:
        """Let workers work, and time pass."""
        end = self.after(seconds)
        while True:
            while self.offers:
                with suppress(Killed):
                    self.invoke()
            at = self.store.next_wake_at()
            if at is None or at > end:
                break
            self.clock.advance_to(max(at, self.clock.now()))
            self.store.tick()
        self.clock.advance_to(max(end, self.clock.now()))

    def happen(self, event: Any) -> None:
        if isinstance(event, tuple):
            self._kill_in = event[1]
            return
        before = self.record("w")
        ended = not before.pending or before.timeout_at <= self.clock.now()
        response = self.store.apply(PromiseCancel("w", "stop", event == "force"))
        if ended:
            assert response.cancel is None
            assert not present(response.promise).pending
        elif event == "force":
            assert response.cancel == "accepted"
            self.forced_at = self.clock.now()
        else:
            assert response.cancel == ("already" if before.cancel else "accepted")
            self.accepted = True


@settings(max_examples=examples(80, in_ci=2500), deadline=None)
@given(
    st.sampled_from([trip, trip_async]), ACTIONS, st.sampled_from(ENDINGS), EVENTS, st.sampled_from([6, 15, 40, 999])
)
def test_saga_has_one_outcome_and_undoes_once(
    func: Any, actions: list[str], ending: str, events: list[Any], timeout: int
) -> None:
    driver = Trips(func, actions, ending, timeout)
    for pause, event in events:
        driver.run_for(pause)
        driver.happen(event)
    driver.run_for(5_000)
    driver.resources.async_functions.stop()

    root = driver.record("w")
    own_end = "rejected" if ending == "raise" else "resolved"
    state = driver.promise("w").state
    settled_at = present(driver.promise("w").settled_at)
    records = driver.records()
    assert [record.id for record in records if driver.promise(record.id).pending] == []
    assert settled_at <= root.timeout_at
    assert (state == "rejected_timedout") == (settled_at == root.timeout_at)
    if driver.forced_at:
        assert (state, settled_at) == ("rejected_canceled", driver.forced_at)
    elif not driver.accepted:
        assert state in (own_end, "rejected_timedout")
    else:
        assert state in (own_end, "rejected_canceled", "rejected_timedout")
    is_whole = not driver.forced_at and state != "rejected_timedout"
    check_undos(records, len(actions), is_booked=state == "resolved" and ending == "return", is_whole=is_whole)


def check_undos(records: list[Record], many: int, *, is_booked: bool, is_whole: bool) -> None:
    """Assert that each action is undone at most once, after its end, and always by a workflow that could.

    Args:
        records: all records.
        many: the number of actions.
        is_booked: whether the workflow returned, and undoes nothing.
        is_whole: whether it has ended by itself.
    """
    of_root = [record for record in records if record.id.rpartition(".")[0] == "w" and FUNC in record.tags]
    actions = [record for record in of_root if record.tags[FUNC] in ("book", "reserve")]
    undos = [record for record in of_root if record.tags[FUNC] in ("undo", "release")]
    if is_booked:
        assert (len(actions), undos) == (many, [])
        return
    for earlier, later in pairwise(undos):
        assert present(earlier.settled_at) <= later.created_at, "the latest first, one after the other"
    for each in undos:
        assert all(present(action.settled_at) <= each.created_at for action in actions)
    assert len(undos) <= many
    if is_whole:
        # An action that has not begun when the cancellation comes has no record, and its undo runs nevertheless.
        assert len(actions) <= len(undos)
        assert {each.state for each in undos} <= {"resolved"}
