"""Crashes and lost responses at each request of a function in turn."""

import os
from contextlib import suppress
from typing import Any, get_args

import pytest

from resonate.payloads import codec
from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.tags import TARGET
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.deployment.functions.conftest import ask
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions
from tests.support.present import present
from tests.support.records import records_in_table

RESULT = 90
STEPS = [*(f".{n}" for n in range(1, 11)), ".12"]
TURNS = 3 if "RESONATE_CI" in os.environ else 1
"""How many tests share the requests of the tour."""
TOUR = [".12", ".14", ".15", ".4.1", ".4.2", ".4.3", ".5", ".6", ".7"]
"""The steps of the workflow `tour`, with those that undo others."""
LEAST = {
    ("writer", "WorkerFunction"): 30,
    ("writer", "TickFunction"): 6,
    ("stream", "WorkerFunction"): 26,
    ("stream", "DispatchFunction"): 13,
    ("stream", "TickFunction"): 2,
}
"""Minimum requests of each function for one journey. With delivery by the writer, nothing is left to the dispatcher."""


@in_turn(*get_args(Moment))
@pytest.mark.parametrize(("delivery", "function"), LEAST, indirect=["delivery"], scope="module")
def test_workflow_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, delivery: str, function: str, moments: tuple[Moment, ...]
) -> None:
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"{function}-{moment}-{position}"
        handle = begin(id, "journey")
        fault = stack.cloud.fault = Fault(stack, function, moment, position)

        stack.run_until_complete(id)

        assert handle.result(0) == RESULT, fault.hit
        assert sorted(journal.runs) == sorted(id + step for step in STEPS), fault.hit
        assert fault.rerun() == [], fault.hit
        # Only the step whose record was being written may run again.
        twice = [count for count in journal.runs.values() if count != 1]
        assert twice in ([], [2] if (function, moment) == ("WorkerFunction", "before") else []), fault.hit
        if fault.hit is None:
            break
    assert position >= LEAST[delivery, function]


def asked(stack: OfflineStack, kind: str, data: dict[str, Any]) -> None:
    """Make a request of the API, and repeat it if it gets no answer, as clients do."""
    for _ in range(3):
        with suppress(Killed):
            if ask(stack, kind, data).status == 200:
                return
    raise AssertionError(f"{kind} gets no answer")


@IN_BOTH_DELIVERIES
@pytest.mark.parametrize("offset", range(TURNS))
@pytest.mark.parametrize("function", ["WorkerFunction", "ApiFunction"])
def test_cancelled_tour_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, function: str, offset: int
) -> None:
    """Each step runs once, and so does what undoes it. The turns together hit each request, in different ways."""
    moments = get_args(Moment)
    for position in positions(offset, TURNS):
        stack.clear()
        journal.clear()
        moment = moments[(position + position // len(moments)) % len(moments)]
        id = f"tour-{function}-{position}"
        begin(id, "tour")
        fault = stack.cloud.fault = Fault(stack, function, moment, position)
        while stack.store.record(f"{id}.13") is None:
            stack.advance(minutes=1)
        asked(stack, "promise.cancel", {"id": id, "reason": "enough"})
        promise = stack.run_until_complete(id)

        assert promise.state == "rejected_canceled", fault.hit
        runs = {run.removeprefix(id): count for run, count in journal.runs.items() if run not in (f"{id}.1", f"{id}.2")}
        assert sorted(runs) == TOUR, fault.hit
        twice = [count for count in runs.values() if count != 1]
        assert twice in ([], [2] if (function, moment) == ("WorkerFunction", "before") else []), fault.hit
        for _ in range(20):  # a lost worker may still have had the lease of the loser
            left = [each.id for each in records_in_table(stack) if each.pending or each.owes]
            if not left:
                break
            stack.advance(minutes=1)
        assert left == [], fault.hit
        if fault.hit is None:
            break
    assert position >= {"WorkerFunction": 40, "ApiFunction": 1}[function]


@IN_BOTH_DELIVERIES
@in_turn(*get_args(Moment))
def test_execution_survives_a_fault_at_each_request_of_the_api(
    stack: OfflineStack, moments: tuple[Moment, ...]
) -> None:
    """A client starts a workflow and answers its question, and repeats a request that gets no answer."""
    param, answer = (
        {"headers": {}, "data": codec.encode(value, "value").data}
        for value in ({"func": "approval", "args": [], "kwargs": {}, "version": 1}, "yes")
    )
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"asked-{moment}-{position}"
        fault = stack.cloud.fault = Fault(stack, "ApiFunction", moment, position)
        later = stack.clock.now() + 3_600_000
        tags = {TARGET: "poll://any@worker"}
        asked(stack, "promise.create", {"id": id, "timeoutAt": later, "param": param, "tags": tags})
        stack.advance(minutes=3)
        asked(stack, "promise.settle", {"id": f"{id}.1", "state": "resolved", "value": answer})
        promise = stack.run_until_complete(id)

        assert codec.decode(promise.value) == "the answer is yes", fault.hit
        stack.advance(minutes=5)
        owing = [each.id for name in (id, f"{id}.1") if (each := present(stack.store.record(name))).owes]
        assert owing == [], fault.hit
        assert stack.next_event_at() is None, fault.hit
        if fault.hit is None:
            break
    assert position >= 3
