"""Fixtures hold what they claim to, and are as they were written."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import msgspec
import pytest
from msgspec import structs

from resonate_store.dynamo.items import entry_of, expiry_of, is_entry
from resonate_store.model.records import Claim, Record, ScheduleRecord, TaskRecord, Value
from tests.upgrade.fixtures import SUBSTRATES, Fixture, fixtures_of, generations, hashes, lines_of, sealed
from tests.upgrade.scenarios import SCENARIOS
from tests.upgrade.stacks import LISTENER

Entry = Record | ScheduleRecord


def entries_of(fixture: Fixture) -> list[Entry]:
    """Every promise and schedule of a fixture, by id."""
    return list(_in_sqlite(fixture) if fixture.substrate == "sqlite" else _in_dynamodb(fixture))


def _in_sqlite(fixture: Fixture) -> Iterable[Entry]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(fixture.path.read_text(encoding="utf-8"))
        for table, kind in (("promise", Record), ("schedule", ScheduleRecord)):
            for (record,) in db.execute(f"SELECT record FROM {table} ORDER BY id").fetchall():
                yield msgspec.msgpack.decode(record, type=kind)


def _in_dynamodb(fixture: Fixture) -> Iterable[Entry]:
    items = [line["item"] for line in lines_of(fixture) if "item" in line]
    return sorted((entry_of(item) for item in items if is_entry(item)), key=lambda entry: entry.id)


def tasks_of(fixture: Fixture) -> dict[str, str]:
    """The states of promises that have a task, and of that."""
    return {
        entry.id: f"{entry.state}, {entry.task.state}"
        for entry in entries_of(fixture)
        if isinstance(entry, Record) and entry.task is not None
    }


def entry(substrate: str, scenario: str, id: str) -> Any:
    (found,) = [each for each in entries_of(Fixture("0.1.0", substrate, scenario)) if each.id == id]
    return found


def task(substrate: str, scenario: str, id: str | None = None) -> TaskRecord:
    found = entry(substrate, scenario, id or scenario).task
    assert found is not None
    return found


SUSPENDED = "pending, suspended"
WAITING = "pending, pending"
DONE = "resolved, fulfilled"

TASKS: dict[str, dict[str, str]] = {
    "sleep": {"sleep": SUSPENDED},
    "sleep-short": {"sleep-short": SUSPENDED},
    "sleep-async": {"sleep-async": SUSPENDED},
    "sleep-again": {"sleep-again": SUSPENDED},
    "sleep-overdue": {"sleep-overdue": SUSPENDED},
    "rpc": {"rpc": SUSPENDED, "rpc.2": WAITING},
    "rpc-nested": {"rpc-nested": SUSPENDED, "rpc-nested.1": DONE, "rpc-nested.2": SUSPENDED},
    "promise": {"promise": SUSPENDED},
    "promise-rejected": {"promise-rejected": SUSPENDED},
    "promise-cancelled": {"promise-cancelled": SUSPENDED},
    "promise-timeout": {"promise-timeout": SUSPENDED},
    "promise-shared": {"shared-a": SUSPENDED, "shared-b": SUSPENDED},
    "begun": {"begun": SUSPENDED, "begun.3": SUSPENDED, "begun.4": WAITING},
    "unawaited": {"unawaited": SUSPENDED, "unawaited.2": SUSPENDED},
    "detached": {"detached": SUSPENDED, "detached-by-name": SUSPENDED, "detached.1": SUSPENDED},
    "detached-awaited": {"detached-awaited": SUSPENDED, "detached-awaited.1": SUSPENDED},
    "nested": {"nested": SUSPENDED},
    "nested-async": {"nested-async": SUSPENDED},
    "ids": {"ids": SUSPENDED, "own/begun-rpc": SUSPENDED, "own/rpc": DONE},
    "id of/many.kinds #1 ☕": {"id of/many.kinds #1 ☕": SUSPENDED},
    "keys": {"keys": SUSPENDED, "keys.2": DONE},
    "not-durable": {"not-durable": SUSPENDED},
    "versions": {"versions": SUSPENDED, "versions.1": SUSPENDED},
    "encoder": {"encoder": SUSPENDED, "encoder.3": WAITING},
    "retry": {"retry": SUSPENDED},
    "retry-exhausted": {"retry-exhausted": SUSPENDED},
    "retry-begun": {"retry-begun": SUSPENDED},
    "retry-series": {"retry-series": SUSPENDED},
    "retry-workflow": {"retry-workflow": SUSPENDED},
    "retry-plain": {"retry-plain": SUSPENDED},
    "retry-root": {"retry-root": SUSPENDED},
    "retry-noted": {"retry-noted": SUSPENDED},
    "here": {"here": SUSPENDED},
    "unacquired": {"unacquired": WAITING},
    "delayed": {"delayed": WAITING},
    "acquired": {"acquired": "pending, acquired"},
    "attempts": {"attempts": "pending, acquired"},
    "halted": {"halted": "pending, halted"},
    "halted-by-request": {"halted-by-request": "pending, halted"},
    "halted-changed": {"halted-changed": "pending, halted"},
    "unresumed": {"unresumed": SUSPENDED},
    "resumed": {"resumed": WAITING},
    "given-back": {"given-back": WAITING},
    "listeners": {},
    "pushes": {"pushed-task": WAITING},
    "ends": {
        "end-cancelled": "rejected_canceled, fulfilled",
        "end-later": SUSPENDED,
        "end-rejected": "rejected, fulfilled",
        "end-resolved": DONE,
        "end-timedout": "rejected_timedout, fulfilled",
    },
    "expiring": {"expiring": DONE},
    "errors": {"errors": SUSPENDED, "errors.10": "rejected, fulfilled", "errors.11": "rejected, fulfilled"},
    "values": {"values": SUSPENDED, "values.5": DONE},
    "values-json": {"values-json": SUSPENDED},
    "recorded": {"recorded": SUSPENDED},
    "large": {"large": SUSPENDED},
    "http": {"http": SUSPENDED},
    "http-worker": {"http-worker": SUSPENDED},
    "official": {"official": SUSPENDED},
    "strangers": {
        "strangers": SUSPENDED,
        "strangers.1": "rejected, fulfilled",
        "strangers.2": "rejected, fulfilled",
        "strangers.3": "rejected, fulfilled",
        "strangers.4": DONE,
    },
    "registered": {"registered": SUSPENDED},
    "by-hand": {},
    "encrypted": {"encrypted": SUSPENDED},
    "schedule": {},
    "schedule-running": {"schedule-running.1750003200000": SUSPENDED},
    "schedule-missed": {},
    "schedule-paused": {},
}
"""The tasks of each fixture of the first generation, and the states of their promises and of themselves."""

FIRST = fixtures_of("0.1.0", list(TASKS))
both = pytest.mark.parametrize("substrate", SUBSTRATES)


@pytest.mark.parametrize("generation", generations())
def test_fixtures_are_as_they_were_written(generation: str) -> None:
    assert hashes(generation) == sealed(generation)


@both
def test_first_generation_has_a_fixture_of_every_scenario_it_names(substrate: str) -> None:
    found = [each.scenario for each in fixtures_of("0.1.0", list(SCENARIOS)) if each.substrate == substrate]
    assert found == [scenario for scenario in TASKS if substrate in SCENARIOS[scenario].substrates]


@pytest.mark.parametrize(("substrate", "scenario"), [(each.substrate, each.scenario) for each in FIRST])
def test_fixture_has_tasks_in_these_states(substrate: str, scenario: str) -> None:
    assert tasks_of(Fixture("0.1.0", substrate, scenario)) == TASKS[scenario]


@both
def test_fixtures_have_tasks_with_every_kind_of_history(substrate: str) -> None:
    offered = task(substrate, "unacquired")
    assert (offered.version, offered.offers, offered.attempts) == (0, 5, 0)
    delayed = task(substrate, "delayed")
    assert (delayed.version, delayed.offers, delayed.retry_at) == (0, 0, 1_750_432_000_000)
    resumed = task(substrate, "resumed")
    assert (resumed.version, resumed.resumes) == (1, ("resumed.2",))
    given_back = task(substrate, "given-back")
    assert (given_back.version, given_back.attempts, given_back.error) == (3, 3, "the disk is full")
    acquired = task(substrate, "acquired")
    assert (acquired.version, acquired.ttl, acquired.expires_at) == (1, 305_000, 1_750_000_305_000)
    assert (task(substrate, "attempts").version, task(substrate, "attempts").attempts) == (4, 3)
    assert task(substrate, "halted").attempts == 10
    assert task(substrate, "halted-by-request").error == "a bug in the second step"
    assert "was run stamp when it first ran and is now run async_stamp" in (
        task(substrate, "halted-changed").error or ""
    )
    assert entry(substrate, "unresumed", "unresumed.2").state == "resolved"


@both
def test_fixtures_have_the_attempts_that_were_reached(substrate: str) -> None:
    def timers(scenario: str) -> dict[str, str]:
        found = entries_of(Fixture("0.1.0", substrate, scenario))
        return {each.id: each.state for each in found if isinstance(each, Record) and "~" in each.id}

    assert timers("retry") == {"retry.2~1": "resolved", "retry.2~2": "resolved", "retry.2~3": "pending"}
    assert timers("retry-begun") == {
        "retry-begun.1~1": "resolved",
        "retry-begun.1~2": "resolved",
        "retry-begun.1~3": "pending",
        "retry-begun.2~1": "resolved",
        "retry-begun.2~2": "resolved",
        "retry-begun.2~3": "resolved",
        "retry-begun.2~4": "pending",
    }
    assert timers("retry-series") == {"retry-series.1~100": "pending"}
    assert timers("retry-root") == {"retry-root.0~1": "pending"}
    assert timers("retry-noted") == {"retry-noted.0~1": "resolved"}
    assert list(timers("retry-plain"))[-1] == "retry-plain.0~6"


@both
def test_fixtures_have_schedules_in_every_state(substrate: str) -> None:
    running = entry(substrate, "schedule-running", "schedule-running")
    assert (running.overlap, running.catch_up, running.next_run_at) == ("skip", "latest", 1_750_010_400_000)
    assert (running.last_promise, running.skipped_at) == ("schedule-running.1750003200000", 1_750_006_800_000)
    waiting = entry(substrate, "schedule", "schedule")
    assert (waiting.timezone, waiting.last_run_at, waiting.next_run_at) == ("Europe/Berlin", None, 1_750_041_000_000)
    assert entry(substrate, "schedule-paused", "schedule-paused").paused


def test_outbox_of_sqlite_has_a_message_that_was_not_sent() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(Fixture("0.1.0", "sqlite", "listeners").path.read_text(encoding="utf-8"))
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        ((address, message),) = db.execute("SELECT address, message FROM outbox").fetchall()
    assert (address, msgspec.msgpack.decode(message)["data"]["promise"]["id"]) == (LISTENER, "unheard")


def test_large_values_lie_in_the_bucket_confirmed_or_not() -> None:
    param, value = entry("dynamodb", "large", "large").param, entry("dynamodb", "large", "large.1").value
    assert isinstance(param, Claim)
    assert isinstance(value, Claim)
    objects = [line["object"] for line in lines_of(Fixture("0.1.0", "dynamodb", "large")) if "object" in line]
    tags = {each["key"]: each["tags"] for each in objects}
    assert (param.unconfirmed, tags[param.key]) == (False, {})
    assert (value.unconfirmed, tags[value.key]) == (True, {"resonate": "unclaimed"})
    assert min(param.size, value.size) > 32 * 1024


def test_table_has_retention_markers_timers_and_messages() -> None:
    lines = [line for fixture in FIRST if fixture.substrate == "dynamodb" for line in lines_of(fixture)[1:]]
    markers = sorted(expiry.id for line in lines if "item" in line and (expiry := expiry_of(line["item"])))
    assert markers[2:6] == ["end-cancelled", "end-rejected", "end-resolved", "end-timedout"]
    schedules = [line["schedule"] for line in lines if "schedule" in line]
    assert Counter(each["expression"].partition("(")[0] for each in schedules) == {"at": 43, "cron": 8}
    assert {each["input"]["kind"] for each in schedules} == {"timer", "schedule"}
    messages = [line["message"] for line in lines if "message" in line]
    assert Counter(each["queue"] for each in messages) == {"TimerQueue": 5, "PushQueue": 3}
    keys = sorted(sorted(each["body"]) for each in messages if each["queue"] == "PushQueue")
    assert keys == [["address", "message"], ["address", "message"], ["expired"]]


def test_table_has_the_attributes_that_only_the_table_needs() -> None:
    lines = [line for fixture in FIRST if fixture.substrate == "dynamodb" for line in lines_of(fixture)[1:]]
    found = {name for line in lines if "item" in line for name in line["item"]}
    assert found - {each.name for kind in (Record, ScheduleRecord) for each in structs.fields(kind)} == {
        "effects",
        "execution_state",
        "expire_at",
        "pk",
        "sk",
        "token",
        "wake_shard",
    }


@both
def test_every_field_that_is_stored_is_in_some_fixture(substrate: str) -> None:
    """A new field of a record needs a fixture that has it: see README.md."""
    found: set[str] = set()

    def look(struct: Any) -> None:
        for each in structs.fields(struct):
            value = getattr(struct, each.name)
            if value not in (each.default, None, {}, ()):
                found.add(f"{type(struct).__name__}.{each.name}")
            if isinstance(value, (TaskRecord, Value)):
                look(value)

    for generation in generations():
        for fixture in fixtures_of(generation, list(SCENARIOS)):
            if fixture.substrate == substrate:
                for each in entries_of(fixture):
                    look(each)
    kinds = [Record, TaskRecord, ScheduleRecord, Value, *([Claim] if substrate == "dynamodb" else [])]
    inherited = {"Claim.headers", "Claim.data"}
    assert {f"{kind.__name__}.{each.name}" for kind in kinds for each in structs.fields(kind)} - inherited <= found


@both
def test_every_tag_of_ours_is_in_some_fixture(substrate: str) -> None:
    found = {
        tag
        for fixture in FIRST
        if fixture.substrate == substrate
        for each in entries_of(fixture)
        if isinstance(each, Record)
        for tag in each.tags
        if tag.startswith("resonate:")
    }
    assert found == {
        "resonate:branch",
        "resonate:delay",
        "resonate:external",
        "resonate:func",
        "resonate:idempotency-key",
        "resonate:link",
        "resonate:origin",
        "resonate:parent",
        "resonate:prefix",
        "resonate:root",
        "resonate:schedule",
        "resonate:scope",
        "resonate:target",
        "resonate:timer",
        "resonate:workflow",
    }
