"""Writes the fixtures of a generation: what the code of this commit stores.

    python -m tests.upgrade.write_fixtures GENERATION [SCENARIO ...]

Without names it writes every scenario. A file that exists is never written again: a generation only grows.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from resonate.payloads import exceptions
from resonate.testing.history import export_history
from resonate_store.model.clock import ManualClock
from tests.support.clocks import SettableClock
from tests.upgrade import conditions
from tests.upgrade.fixtures import Fixture, history_path, seal, write
from tests.upgrade.scenarios import SCENARIOS, Scenario
from tests.upgrade.stacks import SqliteStack, Substrate, TableStack, dump_sqlite, dump_table

T0 = 1_750_000_000_000
"""When every scenario begins (ms)."""

UNDER_WAY = (
    "begun",
    "chatting",
    "detached",
    "errors",
    "ids",
    "interrupted",
    "limited",
    "nested",
    "nested-async",
    "promise",
    "refused",
    "retry",
    "retry-workflow",
    "several",
    "sleep",
)
"""The executions whose histories are also kept as they are before they end."""


def main(generation: str, names: list[str]) -> None:
    """Write the fixtures of these scenarios, or of all."""
    logging.disable()  # what fails here is meant to
    chosen = [SCENARIOS[name] for name in names] or list(SCENARIOS.values())
    # A traceback names files of the machine that this runs on.
    with patch.object(exceptions, "traceback_of", lambda error, *_: f"{type(error).__name__}: {error}\n"):
        for each in chosen:
            if "sqlite" in each.substrates:
                write_sqlite(generation, each)
        with TableStack(SettableClock(T0)) as stack:
            for each in chosen:
                if "dynamodb" in each.substrates:
                    write_table(generation, each, stack)
    seal(generation)


def write_sqlite(generation: str, scenario: Scenario) -> None:
    """Write the SQLite file of a scenario, and its histories."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store.db"
        stack = SqliteStack(path, ManualClock(T0))
        with closing(stack):
            begin(scenario, stack)
            write_histories(generation, scenario, stack, "begun")
            written_at = stack.clock.now()
        write(Fixture(generation, "sqlite", scenario.id).path, written_at, dump_sqlite(path))
        stack = SqliteStack(path, ManualClock(written_at))
        with closing(stack):
            scenario.conclude(stack)
            write_histories(generation, scenario, stack, "ended")


def write_table(generation: str, scenario: Scenario, stack: TableStack) -> None:
    """Write the table of a scenario."""
    stack.renew(T0)
    begin(scenario, stack)
    lines = dump_table(stack)
    write(Fixture(generation, "dynamodb", scenario.id).path, stack.clock.now(), lines)


def begin(scenario: Scenario, stack: Substrate) -> None:
    """Bring a scenario to where its fixture holds it. The step `charge` fails until it is repaired."""
    conditions.reset("then")
    conditions.broken.add("charge")
    scenario.begin(stack)
    stack.pump()
    conditions.detour = False


def write_histories(generation: str, scenario: Scenario, stack: Substrate, moment: str) -> None:
    """Write what `resonate history export` would, of some executions under way and of most that have ended."""
    for id in scenario.histories:
        history = export_history(stack.store, id)
        if moment == "begun" and id not in UNDER_WAY:
            continue
        func = history.root.param["func"]
        if func in ("double", "plain") or (func == "sleeper" and id != "sleep"):
            continue  # a function without commands has nothing to replay, and the sleepers' histories are all alike
        path = history_path(generation, id, moment)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(history.to_json())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
