"""Crashes and lost responses at each request of a function in turn."""

import itertools
from typing import get_args

import pytest

from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.faults import Fault, in_turn

RESULT = 90
STEPS = [*(f".{n}" for n in range(1, 11)), ".12"]
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
    for position in itertools.count():
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
