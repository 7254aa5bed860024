"""Executions that continue as new histories, in the deployment: faults at each request, deletion, and its limits."""

from typing import get_args

import pytest

from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.machine.effects import Prune
from resonate_store.model.requests import PromiseRecord, PromiseSettle
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions
from tests.support.hypothesis_settings import examples
from tests.support.present import present
from tests.support.records import records_in_table

RESULT = 12
"""What two generations of `watch` come to, from 0: each doubles the total plus 2."""
COMMANDS = (".1", ".2", ".2.1", ".2.2", ".3")
"""The commands of a generation that run a function."""


def steps_of(id: str, generations: int) -> list[str]:
    """The ids of the functions that these generations run."""
    prefixes = [id + ".", *(f"{id}.{n}+" for n in range(2, generations + 1))]
    return [prefix + command.removeprefix(".") for prefix in prefixes for command in COMMANDS if command != ".2"]


def left(stack: OfflineStack, id: str) -> set[str]:
    return {record.id for record in records_in_table(stack) if record.id.startswith(id)}


LEAST = {("writer", "WorkerFunction"): 40, ("writer", "DispatchFunction"): 10, ("stream", "DispatchFunction"): 20}


@in_turn(*get_args(Moment))
@pytest.mark.parametrize(("delivery", "function"), LEAST, indirect=["delivery"], scope="module")
def test_generations_survive_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, delivery: str, function: str, moments: tuple[Moment, ...]
) -> None:
    generations = 2
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"{function}-{moment}-{position}"
        workflow = ("watch", "watch_async")[position % 2]
        handle = begin(id, workflow, 0, generations)
        fault = stack.cloud.fault = Fault(stack, function, moment, position)

        stack.run_until_complete(id)
        stack.advance(minutes=5)

        assert handle.result(0) == RESULT, fault.hit
        assert sorted(journal.runs) == sorted(steps_of(id, generations)), fault.hit
        twice = [count for count in journal.runs.values() if count != 1]
        assert twice in ([], [2] if moment == "before" else []), fault.hit
        assert left(stack, id) == {id, f"{id}.2+0", *(f"{id}.2+{n}" for n in (1, 2, "2.1", "2.2", 3, 4))}, fault.hit
        if fault.hit is None:
            break
    assert position >= LEAST[delivery, function]


@IN_BOTH_DELIVERIES
@pytest.mark.parametrize("workflow", ["watch", "watch_async"])
def test_monitor_keeps_its_last_history_only(stack: OfflineStack, begin: Begin, workflow: str) -> None:
    handle = begin("m", workflow, 0, 1_000)
    for generation in range(1, examples(7, in_ci=20)):
        stack.pump()
        record = present(stack.store.record("m"))
        assert (record.generation or 1) == generation
        # Only what its function has written since, and what it began with.
        assert len(left(stack, "m.")) <= 7
        stack.advance(seconds=61)
    assert not handle.done()
    assert stack.store.apply(PromiseSettle("m", "resolved")).ok
    stack.expires = True
    stack.advance(days=60)
    assert left(stack, "m") == set()


def late(stack: OfflineStack, id: str) -> None:
    """A worker that has lost the task writes into a generation that is over."""
    tags = {SCOPE: "local", ORIGIN: "m", PARENT: id.rpartition(".")[0]}
    until = present(stack.store.record("m")).timeout_at
    assert stack.store.apply(PromiseRecord(id, until, stack.clock.now(), "resolved", tags=tags)).ok


def test_late_records_are_deleted_after_the_next_continuation(stack: OfflineStack, begin: Begin) -> None:
    begin("m", "watch", 0, 1_000)
    stack.advance(minutes=4)
    late(stack, "m.1")
    late(stack, "m.2+5")
    late(stack, "m.note")
    assert {"m.1", "m.2+5"} <= left(stack, "m.")
    stack.advance(minutes=2)
    assert not {"m.1", "m.2+5"} & left(stack, "m.")
    assert "m.note" in left(stack, "m."), "it belongs to no generation"
    late(stack, "m.2+5")
    stack.store.apply(PromiseSettle("m", "resolved"))
    stack.expires = True
    stack.advance(days=60)
    assert left(stack, "m") == set()


def test_large_generation_is_deleted_through_the_queue(stack: OfflineStack, begin: Begin) -> None:
    """The stream's consumer deletes small ones itself, and reads no more of a large one than that."""
    begin("m", "watch", 0, 1_000)
    stack.pump()
    for n in range(10, 60):
        late(stack, f"m.2.{n}")
    stack.advance(minutes=3)
    assert not {id for id in left(stack, "m.") if "+" not in id}
    assert stack.store.delete_generations(Prune("m", present(stack.store.record("m")).created_at, 2))


def test_deletion_of_another_life_deletes_nothing(stack: OfflineStack, begin: Begin) -> None:
    begin("m", "watch", 0, 1_000)
    stack.pump()
    created_at = present(stack.store.record("m")).created_at
    there = left(stack, "m")
    for prune in (Prune("m", created_at - 1, 2), Prune("m", created_at, 2), Prune("n", created_at, 2)):
        assert stack.store.delete_generations(prune)
        assert left(stack, "m") == there
