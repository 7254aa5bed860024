"""Forks of random programs: from each command on, a fork does what a fresh run does."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonate.errors import ForkError
from resonate.operations.forking import fork, read
from resonate.payloads import codec
from tests.support.driver import Driver
from tests.support.hypothesis_settings import ANY_HEALTH, examples
from tests.support.program_calls import witness
from tests.support.program_records import intervene, plain, unfinished
from tests.support.programs import FUNCTIONS, PROGRAMS, Program, spelled

COUNT = examples(10, in_ci=300)
SOURCE = "source"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Turn off the logging of failures, which are intended here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _forkable(program: Program) -> Program:
    """Return the program without commands whose names have the id of the execution, which differs in a fork."""
    return [
        {name: _forkable(part) if name in ("ops", "after") else part for name, part in op.items()}
        for op in program
        if op["do"] not in ("mail", "receive", "letter", "talk", "cancel", "publish")
    ]


def _finish(driver: Driver) -> None:
    while True:
        driver.work()
        if intervene(driver.store, driver.store.records()):
            continue
        if not unfinished(driver.store.records(), driver.clock.now()):
            return
        at = driver.store.next_wake_at()
        assert at is not None, "it hangs"
        driver.clock.advance_to(at)
        driver.store.tick()


def _outcome(driver: Driver, id: str) -> str:
    """Return the outcome of an execution without what depends on its id."""
    promise = driver.promise(id)
    try:
        text = plain(codec.outcome_of(promise))
    except Exception as error:
        text = plain(repr(error))
    return re.sub("fork[0-9]+", SOURCE, re.sub("@fork[0-9]+", "", text))


@settings(max_examples=COUNT, deadline=None, suppress_health_check=ANY_HEALTH)
@given(PROGRAMS, st.booleans())
def test_fork_at_each_command_has_the_outcome_of_a_run(program: Program, asynchronous: bool) -> None:
    witness.forget()
    driver = Driver()
    for function in FUNCTIONS:
        driver.register(function)
    root = "interpret_async" if asynchronous else "interpret"
    driver.create(SOURCE, {"func": root, "args": [spelled(_forkable(program), asynchronous=asynchronous)]})
    try:
        _finish(driver)
        expected = _outcome(driver, SOURCE)
        last = read(driver.store, SOURCE).last()
        for number in range(1, last + 2):
            id = f"fork{number}"
            try:
                fork(driver.store, SOURCE, from_command=number, new_id=id, clock=driver.clock)
            except ForkError as error:
                assert "was undone" in str(error)  # noqa: PT017
                continue
            _finish(driver)
            assert _outcome(driver, id) == expected, number
            places = [re.match(rf"{id}\.([0-9]+)", step) for step in witness.runs]
            before = [place[0] for place in places if place is not None and int(place[1]) < number]
            assert before == [], "nothing runs again whose outcome is recorded"
    finally:
        driver.resources.async_functions.stop()
