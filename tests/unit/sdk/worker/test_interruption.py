"""A worker may be killed before or after any request it makes: nothing is lost, and nothing recorded is done again.

Random workflows (`tests.support.programs`) are executed undisturbed, and then once per request with the process ending
there. The lease brings the task back, and every offer arrives twice.
"""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, note, settings

from resonate.payloads import codec
from resonate_store.model.requests import PromiseSettle, Request
from tests.support.driver import Driver, Killed
from tests.support.programs import FUNCTIONS, PROGRAMS, Program, contradictions, plain, settlements, unfinished, witness


class Machine(Driver):
    """A driver whose workflow interprets a program, and whose worker is killed at one request.

    Attributes:
        repeated: the ids of steps that ran although their outcome was recorded.
        made: how many requests the worker has made.
    """

    def __init__(self, kill_at: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        witness.forget()
        witness.is_recorded = self._is_recorded
        self.repeated = witness.repeated
        self.made = 0
        self._kill_at = kill_at
        if after:
            self.tap.after = self._count
        else:
            self.tap.answer = self._count
        for function in FUNCTIONS:
            self.register(function)

    def execute(self, program: Program) -> str:
        """The outcome of the program; everybody outside does their part when nothing else can happen."""
        self.create("w", {"func": "interpret", "args": [program]})
        while unfinished(self.store.records(), self.clock.now()):
            while self.offers:
                self.offers.insert(1, self.offers[0])
                for _ in range(2):
                    with suppress(Killed):
                        self.invoke()
            found = settlements(self.store.records())
            for each in found:
                assert self.store.apply(PromiseSettle(*each)).ok
            if not found and not self.offers and unfinished(self.store.records(), self.clock.now()):
                at = self.store.next_wake_at()
                assert at is not None
                self.clock.advance_to(at)
                self.store.tick()
        self.resources.async_functions.stop()
        assert contradictions(self.store.records()) == {}
        try:
            return plain(codec.outcome_of(self.promise("w")))
        except Exception as error:
            return plain(repr(error))

    def _is_recorded(self, id: str) -> bool:
        record = self.store.record(id)
        return record is not None and not record.pending

    def _count(self, _: Request | str) -> None:
        self.made += 1
        if self.made == self._kill_at:
            raise Killed


@settings(max_examples=10, deadline=None)
@given(PROGRAMS)
def test_a_killed_worker_changes_neither_the_result_nor_what_is_done(program: Program) -> None:
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
