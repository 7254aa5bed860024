"""Executions that earlier releases stored. The present code resumes them, on both substrates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.clocks import SettableClock
from tests.support.hypothesis_settings import some
from tests.upgrade import conditions
from tests.upgrade.fixtures import SUBSTRATES, Fixture, fixtures_of, generations, open_sqlite, open_table
from tests.upgrade.scenarios import SCENARIOS, SECTIONS
from tests.upgrade.stacks import SqliteStack, Substrate, TableStack, record_of, records_of

FIXTURES = [fixture for generation in generations() for fixture in fixtures_of(generation, list(SCENARIOS))]
WITHOUT_EVENTS = ["sleep", "sleep-short", "rpc-nested", "retry", "large", "schedule"]


@pytest.fixture(scope="module")
def deployed() -> Iterator[TableStack]:
    with TableStack(SettableClock()) as stack:
        yield stack


def resume(fixture: Fixture, stack: Substrate) -> None:
    conditions.reset("now")
    conditions.broken.add("charge")
    scenario = SCENARIOS[fixture.scenario]
    assert scenario.conclude(stack) == scenario.result


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_stored_executions_are_resumed(
    substrate: str, section: str, tmp_path: Path, deployed: TableStack, subtests: pytest.Subtests
) -> None:
    found = [each for each in FIXTURES if (each.substrate, SCENARIOS[each.scenario].section) == (substrate, section)]
    assert found
    for number, fixture in enumerate(some(found, 2) if substrate == "dynamodb" else found):
        with subtests.test(str(fixture)):
            if substrate == "dynamodb":
                resume(fixture, open_table(fixture, deployed))
            else:
                with closing(open_sqlite(fixture, tmp_path / f"{number}.db")) as stack:
                    resume(fixture, stack)


def test_stored_executions_are_resumed_without_queues_and_schedules(
    deployed: TableStack, subtests: pytest.Subtests
) -> None:
    # In a table that was restored from a backup, only the sweep finds what is due.
    for scenario in WITHOUT_EVENTS:
        with subtests.test(scenario):
            fixture = Fixture("0.1.0", "dynamodb", scenario)
            resume(fixture, open_table(fixture, deployed, events=False))


def test_stored_executions_are_deleted_after_their_retention(deployed: TableStack) -> None:
    stack = open_table(Fixture("0.1.0", "dynamodb", "ends"), deployed)
    stack.expires = True
    stack.advance(days=32)
    assert {record.id.partition(".")[0] for record in records_of(stack)} == {"end-later"}
    stack.advance(days=5)
    assert records_of(stack) == []


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_stored_halted_execution_stays_halted(
    substrate: str, tmp_path: Path, deployed: TableStack, subtests: pytest.Subtests
) -> None:
    fixtures = [Fixture(generation, substrate, "halted") for generation in generations()]
    for fixture in (each for each in fixtures if each.path.exists()):
        with subtests.test(str(fixture)):
            conditions.reset("now")
            in_table = substrate == "dynamodb"
            stack = (
                open_table(fixture, deployed)
                if in_table
                else open_sqlite(fixture, tmp_path / f"{fixture.generation}.db")
            )
            stack.advance(hours=2)
            assert record_of(stack, "halted").task.state == "halted"
            assert conditions.runs == {}
            if isinstance(stack, SqliteStack):
                stack.close()
