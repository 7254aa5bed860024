"""Random programs in memory without faults, and on the offline stack with faults.

On the stack, processes are killed, responses get lost, requests are refused, and messages are lost, delayed or
repeated. Clients settle promises at any moment. Afterwards both runs must have the same records, and the stack must
have no work left.

Programs that are cancelled from outside end somewhere else each time. Of those, the rules are checked that hold
wherever they end.

`RESONATE_PROGRAMS` is the number of programs on the stack, for each way of delivery. In memory there are 50 times more.
One in four of them is cancelled from outside.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from hypothesis import strategies as st

from resonate.payloads import codec
from resonate.testing.faults import Killed
from resonate.worker.async_functions import AsyncFunctions
from resonate.worker.resources import Resources
from resonate_infra.testing.moto.cloud import CountedCall, Invocation, Moment
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.interface import StoreWrapper
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Request
from tests.deployment.conftest import IN_BOTH_DELIVERIES
from tests.support.driver import Driver
from tests.support.hypothesis_settings import Batch, in_batches, some
from tests.support.present import present
from tests.support.program_calls import witness
from tests.support.program_records import contradictions, intervene, miscompensated, plain, shape, unfinished
from tests.support.programs import FUNCTIONS, PROGRAMS, Program, spelled
from tests.support.records import records_in_table
from tests.support.worker_code import RANDOM_PROGRAMS

COUNT = int(os.environ.get("RESONATE_PROGRAMS", "100" if "RESONATE_CI" in os.environ else "2"))

KINDS = [
    "killed before",
    "killed after",
    "answer lost",
    "refused",
    "invoke lost",
    "invoke held back",
    "delivered again",
    "settled meanwhile",
    "slow",
    "everything else meanwhile",
]
FAULTS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(KINDS)), max_size=8)
"""Faults, each with the number of occasions between it and the fault before.

A task is halted after ten failed attempts, so there are fewer faults.
"""
FINAL = ("resolved", "rejected", "rejected_canceled", "rejected_timedout")
CONDITIONS = st.fixed_dictionaries(
    {
        "faults": FAULTS,
        "duplicate": st.booleans(),
        "forgetful": st.booleans(),
        "lost": st.sets(st.integers(0, 30), max_size=3),
    }
)


class Trouble:
    """Plan of faults on a stack.

    Args:
        faults: the faults in order, see `FAULTS`.
        duplicate: whether each event is delivered twice.
        forgetful: whether each invocation has a new process.
        lost: the positions of the stream records that are lost.
    """

    def __init__(
        self, stack: OfflineStack, faults: list[tuple[int, str]], duplicate: bool, forgetful: bool, lost: set[int]
    ) -> None:
        self.happened: list[str] = []
        self.held_back: list[Invocation] = []
        self._stack = stack
        self._faults = list(faults)
        self._forgetful = forgetful
        self._lost = lost
        self._records = 0
        self._left = faults[0][0] if faults else -1
        self._inside = False
        self._last: Event | None = None
        stack.cloud.fault = self._occasion
        stack.duplicate = duplicate
        stack.lost = self._loses
        stack.watch = self._after_invocation

    def _loses(self, _: dict[str, Any]) -> bool:
        self._records += 1
        return self._records - 1 in self._lost

    def _after_invocation(self, event: Event) -> None:
        self._last = event
        if self._forgetful:
            self._stack.processes.forget_all()

    def _occasion(self, moment: Moment, call: CountedCall) -> None:
        if not call.caller or self._inside or not self._faults:
            return
        if self._left > 0:
            self._left -= 1
            return
        kind = self._faults[0][1]
        if not self._suits(kind, moment, call):
            return
        del self._faults[0]
        self._left = self._faults[0][0] if self._faults else -1
        self.happened.append(f"{kind}: {call.caller} {call.operation}")
        self._inside = True
        try:
            self._do(kind, call)
        finally:
            self._inside = False

    def _suits(self, kind: str, moment: Moment, call: CountedCall) -> bool:
        """Return whether a fault of this kind can happen now."""
        if kind.startswith("invoke"):
            return moment == "lost" and call.operation == "Invoke"
        if kind in ("delivered again", "everything else meanwhile"):
            return call.caller == "WorkerFunction" and moment != "lost"
        return moment == {"killed after": "after", "answer lost": "lost"}.get(kind, "before")

    def _do(self, kind: str, call: CountedCall) -> None:
        stack = self._stack
        match kind:
            case "killed before" | "killed after":
                raise Killed
            case "answer lost":
                raise ConnectionClosedError(endpoint_url=f"https://{call.service}")
            case "refused":
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": "not now"}}, call.operation)
            case "invoke lost":
                stack.cloud.invocations.pop()
            case "invoke held back":
                self.held_back.append(stack.cloud.invocations.pop())
            case "settled meanwhile":
                settle(stack)
            case "cancelled meanwhile":
                assert stack.store.apply(PromiseCancel("w", "stop")).ok
            case "slow":
                stack.clock.sleep(20_000)
            case "delivered again":
                if self._last is not None and self._last.function == "WorkerFunction":
                    self._elsewhere([Invocation("WorkerFunction", self._last.event, "")])
            case _:
                self._elsewhere([])

    def _elsewhere(self, invocations: list[Invocation]) -> None:
        """Let other processes work while this one waits for its response."""
        stack = self._stack
        stack.cloud.invocations += invocations
        stack.processes.forget_all()
        stack.pump()
        stack.processes.forget_all()


@contextmanager
def uncounted(stack: OfflineStack) -> Iterator[None]:
    """Make requests of the test, which meet no fault."""
    caller, stack.cloud.caller = stack.cloud.caller, ""
    try:
        yield
    finally:
        stack.cloud.caller = caller


def settle(stack: OfflineStack) -> bool:
    """Do what clients have to do: settle promises, and send messages. Return whether there was anything."""
    with uncounted(stack):
        return intervene(stack.store, records_in_table(stack))


class Singly(StoreWrapper):
    """A store for which a worker registers each wait by itself, as on DynamoDB (docs/rules.md W19)."""

    @property
    def registers_singly(self) -> bool:
        return True


class Cancels:
    """A client that cancels the execution after a number of requests of its worker, and again a few requests later."""

    def __init__(self, driver: Driver, after: int) -> None:
        self._driver = driver
        self._left = [after, 7]
        self._possible = ("accepted", *FINAL)

    def __call__(self, _: Request | str) -> None:
        if not self._left:
            return
        self._left[0] -= 1
        if self._left[0] < 0:
            del self._left[0]
            response = self._driver.store.apply(PromiseCancel("w", "stop"))
            answer = response.cancel or present(response.promise).state
            assert answer in self._possible
            self._possible = ("already", *FINAL) if answer == "accepted" else (answer,)


def in_memory(
    program: Program, root: str, *, singly: bool = False, cancelled_after: int | None = None
) -> tuple[str, dict[str, tuple[str, str]]]:
    """Run a program in memory without faults. Return its outcome and its records.

    Args:
        program: the program.
        root: the name of its function.
        singly: whether the worker registers each wait by itself.
        cancelled_after: the number of requests after which it is cancelled from outside.
    """
    witness.forget()
    driver = Driver()
    if singly:
        driver.use(Resources(Singly(driver.tap), driver.clock))
    if cancelled_after is not None:
        driver.tap.after = Cancels(driver, cancelled_after)
    for function in FUNCTIONS:
        driver.register(function)
    witness.is_recorded = lambda id: (record := driver.store.record(id)) is not None and not record.pending
    driver.create("w", {"func": root, "args": [program]})
    try:
        while True:
            driver.work()
            if intervene(driver.store, driver.store.records()):
                continue
            if not unfinished(driver.store.records(), driver.clock.now()):
                break
            at = driver.store.next_wake_at()
            assert at is not None, "it hangs"
            driver.clock.advance_to(at)
            driver.store.tick()
    finally:
        driver.resources.async_functions.stop()
    records = list(driver.store.records())
    assert contradictions(records) == {}
    assert witness.repeated == []
    assert miscompensated(records) == []
    return outcome(driver.promise("w")), shape(records)


def on_the_stack(stack: OfflineStack, program: Program, root: str, conditions: dict[str, Any]) -> Trouble:
    """Run a program on the stack until no work is left."""
    witness.forget()
    witness.is_recorded = lambda id: recorded(stack, id)
    trouble = Trouble(stack, **conditions)
    client = stack.client(group="client")
    client.options(target="worker").begin_rpc("w", root, program)
    client.stop()
    while True:
        stack.pump()
        if settle(stack):
            continue
        if trouble.held_back:
            stack.cloud.invocations.append(trouble.held_back.pop())
            stack.advance(seconds=45)
            continue
        records = records_in_table(stack)
        at = stack.next_event_at()
        if at is None or not (unfinished(records, stack.clock.now()) or any(record.owes for record in records)):
            return trouble
        stack.advance(seconds=(at - stack.clock.now()) / 1000)


def recorded(stack: OfflineStack, id: str) -> bool:
    with uncounted(stack):
        record = stack.store.record(id)
    return record is not None and not record.pending


def outcome(promise: PromiseView) -> str:
    """Return the outcome of an execution as text."""
    try:
        return plain(codec.outcome_of(promise))
    except Exception as error:
        return plain(repr(error))


@pytest.fixture(scope="module")
def programs(delivery: str) -> Iterator[OfflineStack]:
    """Stack whose worker runs programs. All its processes share one event loop, which is stopped at the end."""
    async_functions = AsyncFunctions()
    offline = OfflineStack(code={"WorkerFunction": RANDOM_PROGRAMS}, parameters={"Delivery": delivery})
    with pytest.MonkeyPatch.context() as patch, offline as stack:
        patch.setattr("resonate.aws_lambda.handler.AsyncFunctions", lambda: async_functions)
        yield stack
    async_functions.stop()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Turn off the logging of failures, which are intended here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check(stack: OfflineStack, program: Program, root: str, conditions: dict[str, Any]) -> list[str]:
    """Assert that a program has the same records on the stack as in memory. Return the faults that happened."""
    expected, left = in_memory(program, root)
    happened = check_rules(stack, program, root, conditions)
    assert outcome(present(stack.store.record("w")).promise()) == expected, happened
    assert shape(records_in_table(stack)) == left, happened
    return happened


def check_rules(stack: OfflineStack, program: Program, root: str, conditions: dict[str, Any]) -> list[str]:
    """Assert what holds for every program on the stack, also if it is cancelled. Return the faults that happened."""
    stack.clear()
    stack.processes.forget_all()
    trouble = on_the_stack(stack, program, root, conditions)
    stack.cloud.fault = stack.watch = None

    records = records_in_table(stack)
    assert unfinished(records, stack.clock.now()) == [], trouble.happened
    assert [record.id for record in records if record.owes] == [], trouble.happened
    assert not present(stack.store.record("w")).pending, trouble.happened
    assert contradictions(records) == {}, trouble.happened
    assert witness.repeated == [], trouble.happened
    assert miscompensated(records) == [], trouble.happened
    return trouble.happened


@IN_BOTH_DELIVERIES
@in_batches(COUNT, 10)
def test_random_program_has_the_same_records_with_faults(programs: OfflineStack, batch: Batch) -> None:
    def check_one(program: Program, conditions: dict[str, Any]) -> None:
        check(programs, program, "interpret", conditions)

    batch.run(check_one, PROGRAMS, CONDITIONS)


@in_batches(50 * COUNT, 250)
def test_generator_and_async_programs_have_the_same_records(batch: Batch) -> None:
    def check_one(program: Program) -> None:
        generators = in_memory(spelled(program, asynchronous=False), "interpret")

        assert in_memory(spelled(program, asynchronous=True), "interpret_async") == generators
        assert in_memory(spelled(program, asynchronous=False), "interpret", singly=True) == generators

    batch.run(check_one, PROGRAMS)


@IN_BOTH_DELIVERIES
@in_batches(-(-COUNT // 4), 10)
def test_cancelled_program_keeps_the_rules_with_faults(programs: OfflineStack, batch: Batch) -> None:
    def check_one(program: Program, conditions: dict[str, Any], at: int) -> None:
        conditions["faults"] = [(at, "cancelled meanwhile"), *conditions["faults"]]
        check_rules(programs, program, "interpret", conditions)

    batch.run(check_one, PROGRAMS, CONDITIONS, st.integers(0, 60))


@in_batches(50 * COUNT // 4, 250)
def test_cancelled_program_keeps_the_rules(batch: Batch) -> None:
    def check_one(program: Program, at: int, asynchronous: bool) -> None:
        root = "interpret_async" if asynchronous else "interpret"
        in_memory(spelled(program, asynchronous=asynchronous), root, cancelled_after=at)

    batch.run(check_one, PROGRAMS, st.integers(0, 60), st.booleans())


VARIED: Program = [
    {
        "do": "nested",
        "ops": [{"do": "step", "fails": 1, "pause": 10}, {"do": "sleep", "seconds": 5}],
        "begin": True,
        "async": True,
    },
    {"do": "promise", "settle": "resolved", "own_id": "of the workflow"},
    {"do": "remote step", "fails": 1, "begin": True},
    {"do": "await all", "backwards": True},
]


# By default the deliveries take turns.
EACH_KIND = [
    (delivery, kind)
    for number, kind in enumerate(KINDS)
    for delivery in some([("writer", "stream"), ("stream", "writer")][number % 2], 2)
]


@pytest.mark.parametrize(("delivery", "kind"), EACH_KIND, indirect=["delivery"], scope="module")
def test_program_survives_each_kind_of_fault(programs: OfflineStack, kind: str) -> None:
    faults = [(pause, kind) for pause in (3, 11, 17)]
    conditions = {"faults": faults, "duplicate": False, "forgetful": False, "lost": set()}

    assert len(check(programs, VARIED, "interpret", conditions)) >= 2
