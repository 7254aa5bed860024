"""A worker may be killed before or after any request it makes: nothing is lost, and nothing recorded is done again.

Random workflows - steps, nested generators, remote calls, sleeps, promises, failures and retries, started and awaited
in any order - are executed undisturbed, and then once per request with the process ending there. The lease brings the
task back, and every offer arrives twice.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from resonate import Context
from resonate.retry_policies import Constant, Never
from resonate_store.records import SCOPE, TARGET, TIMER
from resonate_store.requests import Request
from tests.sdk.driving import Driver, Flow, Killed

Op = dict[str, Any]

_steps = st.fixed_dictionaries(
    {"do": st.just("step")},
    optional={
        "begin": st.just(True),
        "fails": st.sampled_from([1, 2, 99]),
        "pause": st.sampled_from([0.5, 10]),
        "own_id": st.just(True),
        "timeout": st.just(True),
        "durable": st.just(False),
    },
)
_leaves = st.one_of(
    _steps,
    _steps,
    st.fixed_dictionaries({"do": st.just("sleep"), "seconds": st.sampled_from([0, 0.5, 5])}),
    st.fixed_dictionaries({"do": st.just("promise")}, optional={"own_id": st.just(True)}),
    st.fixed_dictionaries({"do": st.just("await"), "which": st.integers(0, 3)}),
    st.fixed_dictionaries({"do": st.just("raise")}),
)


def _calls(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    return st.fixed_dictionaries(
        {"do": st.sampled_from(["nested", "nested", "remote"]), "ops": st.lists(ops, max_size=4)},
        optional={"begin": st.just(True), "own_id": st.just(True), "retried": st.just(True)},
    )


PROGRAMS = st.lists(st.recursive(_leaves, _calls, max_leaves=8), min_size=1, max_size=5)


class Machine(Driver):
    """A driver whose workflow interprets a program, and whose worker is killed at one request.

    Attributes:
        repeated: the ids of steps that ran although their outcome was recorded.
        made: how many requests the worker has made.
    """

    def __init__(self, kill_at: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        self.repeated: list[str] = []
        self.made = 0
        self._kill_at = kill_at
        if after:
            self.tap.after = self._count
        else:
            self.tap.answer = self._count
        self.registry.add(self._workflow(), "interpret")

    def execute(self, program: list[Op]) -> Any:
        """The outcome of the program; everybody outside does their part when nothing else can happen."""
        self.create("w", {"func": "interpret", "args": [program]})
        while self.promise("w").pending:
            while self.offers:
                self.offers.insert(1, self.offers[0])
                for _ in range(2):
                    with suppress(Killed):
                        self.invoke()
            for record in self.store.records():
                tags = record.tags
                if record.pending and tags.get(SCOPE) == "global" and not {TARGET, TIMER} & tags.keys():
                    self.settle(record.id, f"from outside: {record.id}")
            if not self.offers and self.promise("w").pending:
                at = self.store.next_wake_at()
                assert at is not None
                self.clock.advance_to(at)
                self.store.tick()
        try:
            return self.finish("w")
        except Exception as error:
            return repr(error)

    def _count(self, _: Request | str) -> None:
        self.made += 1
        if self.made == self._kill_at:
            raise Killed

    def _step(self, ctx: Context, fails: int) -> str:
        record = self.store.record(ctx.id)
        if record is not None and not record.pending:
            self.repeated.append(ctx.id)
        if ctx.info.attempt <= fails:
            raise ValueError(f"{ctx.id} failed")
        return f"{ctx.id} done"

    def _workflow(self) -> Any:
        def step(ctx: Context, fails: int) -> str:
            return self._step(ctx, fails)

        def interpret(ctx: Context, ops: list[Op]) -> Flow:
            got: list[Any] = []
            started: list[Any] = []
            for number, op in enumerate(ops):
                own_id = f"{ctx.id}-own{number}-{ctx.info.attempt}" if op.get("own_id") else None
                try:
                    match op["do"]:
                        case "step":
                            call = ctx.begin_run if op.get("begin") else ctx.run
                            command: Any = call(step, op.get("fails", 0)).options(
                                id=own_id,
                                durable=op.get("durable"),
                                timeout=1000.0 if op.get("timeout") else None,
                                retry_policy=Constant(op["pause"], max_retries=3) if "pause" in op else Never(),
                            )
                        case "nested":
                            call = ctx.begin_run if op.get("begin") else ctx.run
                            policy = Constant(10, max_retries=1) if op.get("retried") else None
                            command = call(interpret, op["ops"]).options(id=own_id, retry_policy=policy)
                        case "remote":
                            call = ctx.begin_rpc if op.get("begin") else ctx.rpc
                            command = call("interpret", op["ops"]).options(id=own_id)
                        case "sleep":
                            command = ctx.sleep(op["seconds"])
                        case "promise":
                            command = ctx.promise(id=own_id)
                        case "await":
                            if started:
                                got.append((yield started[op["which"] % len(started)]))
                            continue
                        case _:
                            raise KeyError(f"{ctx.id} gave up in attempt {ctx.info.attempt}")
                    answer = yield command
                    if op.get("begin") or op["do"] == "promise":
                        started.append(answer)
                    else:
                        got.append(answer)
                except ValueError as error:
                    got.append(f"caught: {error}")
            return got

        return interpret


@settings(max_examples=40, deadline=None)
@given(PROGRAMS)
def test_a_killed_worker_changes_neither_the_result_nor_what_is_done(program: list[Op]) -> None:
    undisturbed = Machine()
    expected = undisturbed.execute(program)
    assert undisturbed.repeated == []

    for kill_at in range(1, undisturbed.made + 1):
        for after in (False, True):
            machine = Machine(kill_at, after=after)
            outcome = machine.execute(program)
            note(f"killed {'after' if after else 'before'} request {kill_at}: {machine.tap.kinds()[:kill_at]}")
            assert outcome == expected
            assert machine.repeated == []
