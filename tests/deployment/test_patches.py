"""Patches on the offline stack: the answer survives a fault at each request."""

from __future__ import annotations

from typing import get_args

from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions


@in_turn(*get_args(Moment))
def test_fault_at_each_request_keeps_the_answers(
    stack: OfflineStack, begin: Begin, moments: tuple[Moment, ...]
) -> None:
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"amended-{moment}-{position}"
        handle = begin(id, "amended", 3)
        fault = stack.cloud.fault = Fault(stack, "WorkerFunction", moment, position)

        stack.run_until_complete(id)

        assert handle.result(0) == [3, True], fault.hit
        ids = [record.id for record in stack.history(id)]
        markers = [f"{id}.patch~patch-{n}" for n in range(3)]
        assert ids == [id, markers[0], f"{id}.1", markers[1], f"{id}.2", markers[2], f"{id}.3", f"{id}.4"], fault.hit
        assert fault.rerun() == [], fault.hit
        if fault.hit is None:
            break
    assert position >= 12
