"""Executions that earlier releases stored are resumed by today's code, on both substrates, to the results they owe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upgrade import conditions
from tests.upgrade.fixtures import SUBSTRATES, Fixture, fixtures_of, generations, open_sqlite, open_table
from tests.upgrade.scenarios import SCENARIOS
from tests.upgrade.stacks import SettableClock, SqliteStack, Substrate, TableStack, record_of

FIXTURES = [fixture for generation in generations() for fixture in fixtures_of(generation, list(SCENARIOS))]
WITHOUT_EVENTS = ["sleep", "sleep-short", "rpc-nested", "retry", "large", "schedule"]
TABLES = [fixture for fixture in FIXTURES if fixture.substrate == "dynamodb"]


@pytest.fixture(scope="module")
def deployed() -> Iterator[TableStack]:
    with TableStack(SettableClock()) as stack:
        yield stack


def resume(fixture: Fixture, stack: Substrate) -> None:
    conditions.reset("now")
    conditions.broken.add("charge")
    scenario = SCENARIOS[fixture.scenario]
    assert scenario.conclude(stack) == scenario.result


@pytest.mark.parametrize("fixture", [each for each in FIXTURES if each.substrate == "sqlite"], ids=str)
def test_stored_execution_in_sqlite_is_resumed(fixture: Fixture, tmp_path: Path) -> None:
    stack = open_sqlite(fixture, tmp_path / "store.db")
    try:
        resume(fixture, stack)
    finally:
        stack.close()


@pytest.mark.parametrize("fixture", TABLES, ids=str)
def test_stored_execution_in_dynamodb_is_resumed(fixture: Fixture, deployed: TableStack) -> None:
    resume(fixture, open_table(fixture, deployed))


@pytest.mark.parametrize("scenario", WITHOUT_EVENTS)
def test_stored_execution_is_resumed_without_queues_and_schedules(scenario: str, deployed: TableStack) -> None:
    """As after a table was restored from a backup: only the sweep knows what is due."""
    fixture = Fixture("0.1.0", "dynamodb", scenario)
    resume(fixture, open_table(fixture, deployed, events=False))


def test_stored_executions_are_deleted_when_their_retention_is_over(deployed: TableStack) -> None:
    stack = open_table(Fixture("0.1.0", "dynamodb", "ends"), deployed)
    stack.expires = True
    stack.advance(days=32)
    assert {record.id.partition(".")[0] for record in stack._records()} == {"end-later"}
    stack.advance(days=5)
    assert stack._records() == []


@pytest.mark.parametrize("fixture", [Fixture("0.1.0", substrate, "halted") for substrate in SUBSTRATES], ids=str)
def test_stored_halted_execution_stays_halted_until_it_is_continued(
    fixture: Fixture, tmp_path: Path, deployed: TableStack
) -> None:
    conditions.reset("now")
    in_table = fixture.substrate == "dynamodb"
    stack = open_table(fixture, deployed) if in_table else open_sqlite(fixture, tmp_path / "store.db")
    stack.advance(hours=2)
    assert record_of(stack, "halted").task.state == "halted"
    assert conditions.runs == {}
    if isinstance(stack, SqliteStack):
        stack.close()
