"""Which end an execution has, if cancellations, outcomes, its deadline and crashes come in any order (X1, X6).

A model says after each event what the state and the answer have to be.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import PromiseState
from tests.support.build import MINUTE, OUTSIDE, SECOND, TARGETED, acquire, create, fulfill, get, suspend
from tests.support.hypothesis_settings import examples
from tests.support.present import present
from tests.support.substrates import T0, World, in_memory

DEADLINE = T0 + 5 * MINUTE
LEASE = 2 * MINUTE
EVENTS = st.one_of(
    st.tuples(st.just("cancel"), st.booleans()),
    st.tuples(st.just("acquire"), st.none()),
    st.tuples(st.just("fulfill"), st.sampled_from(["resolved", "rejected", "rejected_canceled"])),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("pass"), st.sampled_from([SECOND, LEASE, 2 * MINUTE, 5 * MINUTE])),
)


class Model:
    """What must have become of the execution `w`, whose worker does not extend its lease.

    Attributes:
        state: the state of its promise.
        reason: the reason of the cancellation that is noted.
        task: the state of its task.
        version: how often the task was acquired.
    """

    def __init__(self, store: World) -> None:
        self.store = store
        self.state: PromiseState = "pending"
        self.reason: str | None = None
        self.task = "pending"
        self.version = 0
        self.lease_until = 0

    def end(self, state: PromiseState) -> None:
        self.state, self.reason, self.task = state, None, "fulfilled"

    def pass_time(self, milliseconds: int) -> None:
        self.store.pass_time(milliseconds)
        now = self.store.clock.now()
        if self.state == "pending" and now >= DEADLINE:
            self.end("rejected_timedout")
        elif self.task == "acquired" and now >= self.lease_until:
            self.task = "pending"

    def cancel(self, force: bool, reason: str) -> None:
        response = self.store.apply(PromiseCancel("w", reason, force))
        expected: str | None = None
        if self.state == "pending":
            begun = self.version > 0
            expected = "already" if self.reason is not None and not force else "accepted"
            if force or not begun:
                self.end("rejected_canceled")
            else:
                self.reason = self.reason if self.reason is not None else reason
                self.task = "pending" if self.task == "suspended" else self.task
        assert (response.cancel, present(response.promise).state) == (expected, self.state)

    def acquire(self) -> None:
        response = self.store.apply(acquire("w", self.version, ttl=LEASE))
        assert response.ok == (self.task == "pending")
        if response.ok:
            self.task, self.version, self.lease_until = "acquired", self.version + 1, self.store.clock.now() + LEASE
            assert present(response.task).cancel == self.reason

    def fulfill(self, state: Any) -> None:
        response = self.store.apply(fulfill("w", self.version, state))
        assert response.ok == (self.task == "acquired")
        if response.ok:
            self.end(state)

    def suspend(self, seen: bool) -> None:
        response = self.store.apply(suspend("w", "other", version=self.version, cancel_seen=seen))
        if self.task != "acquired":
            assert not response.ok
            assert response.status != 300
        elif self.reason is not None and not seen:
            assert (response.status, present(response.task).cancel) == (300, self.reason)
        else:
            assert response.status == 200
            self.task = "suspended"

    def check(self) -> None:
        record = self.store.stored("w")
        promise = present(self.store.apply(get("w")).promise)
        task = present(record.task)
        assert (promise.state, task.state, task.version) == (self.state, self.task, self.version)
        assert (None if record.cancel is None else record.cancel.reason) == self.reason
        if self.state == "rejected_timedout":
            assert promise.settled_at == DEADLINE
        elif self.state != "pending":
            assert present(promise.settled_at) < DEADLINE


@settings(max_examples=examples(100, in_ci=900), deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_execution_ends_once_as_the_rules_say(events: list[tuple[str, Any]]) -> None:
    store = in_memory(ManualClock(T0))
    store.apply(create("w", TARGETED, at=DEADLINE))
    store.apply(create("other", OUTSIDE))
    model = Model(store)
    for number, (kind, detail) in enumerate(events):
        match kind:
            case "cancel":
                model.cancel(detail, f"reason {number}")
            case "acquire":
                model.acquire()
            case "fulfill":
                model.fulfill(detail)
            case "suspend":
                model.suspend(detail)
            case _:
                model.pass_time(detail)
        model.check()
