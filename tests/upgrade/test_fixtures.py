"""Contents of the fixtures, which are not changed after they are written."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from itertools import chain
from typing import Any

import msgspec
import pytest
from msgspec import structs

from resonate.payloads import codec
from resonate_store.dynamo.items import entry_of, expiry_of, is_entry
from resonate_store.model import tags
from resonate_store.model.records import Claim, Record, ScheduleRecord, TaskRecord, Value
from tests.support.present import present
from tests.upgrade.fixtures import SUBSTRATES, Fixture, fixtures_of, generations, hashes, lines_of, sealed
from tests.upgrade.scenarios import SCENARIOS
from tests.upgrade.stacks import LISTENER

Entry = Record | ScheduleRecord


def entries_of(fixture: Fixture) -> list[Entry]:
    """Return the promises and schedules of a fixture, ordered by id."""
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
    """Return the states of promise and task, for each promise with a task."""
    return {
        entry.id: f"{entry.state}, {entry.task.state}"
        for entry in entries_of(fixture)
        if isinstance(entry, Record) and entry.task is not None
    }


def entry(substrate: str, scenario: str, id: str, generation: str = "0.1.0") -> Any:
    (found,) = [each for each in entries_of(Fixture(generation, substrate, scenario)) if each.id == id]
    return found


def task(substrate: str, scenario: str, id: str | None = None) -> TaskRecord:
    return present(entry(substrate, scenario, id or scenario).task)


SUSPENDED = "pending, suspended"
WAITING = "pending, pending"
DONE = "resolved, fulfilled"

SUSPENDED_ONLY = (
    *("sleep", "sleep-short", "sleep-async", "sleep-again", "sleep-overdue", "promise"),
    *("promise-rejected", "promise-cancelled", "promise-timeout", "nested", "nested-async", "id of/many.kinds #1 ☕"),
    *("not-durable", "retry", "retry-exhausted", "retry-begun", "retry-series", "retry-workflow"),
    *("retry-plain", "retry-root", "retry-noted", "here", "unresumed", "values-json"),
    *("recorded", "large", "http", "http-worker", "official", "registered"),
    *("encrypted",),
)
TASKS: dict[str, dict[str, dict[str, str]]] = {}
TASKS["0.1.0"] = {
    **{id: {id: SUSPENDED} for id in SUSPENDED_ONLY},
    **{id: {id: WAITING} for id in ("unacquired", "delayed", "resumed", "given-back")},
    **{id: {} for id in ("listeners", "by-hand", "schedule", "schedule-missed", "schedule-paused")},
    "rpc": {"rpc": SUSPENDED, "rpc.2": WAITING},
    "rpc-nested": {"rpc-nested": SUSPENDED, "rpc-nested.1": DONE, "rpc-nested.2": SUSPENDED},
    "promise-shared": {"shared-a": SUSPENDED, "shared-b": SUSPENDED},
    "begun": {"begun": SUSPENDED, "begun.3": SUSPENDED, "begun.4": WAITING},
    "unawaited": {"unawaited": SUSPENDED, "unawaited.2": SUSPENDED},
    "detached": {"detached": SUSPENDED, "detached-by-name": SUSPENDED, "detached.1": SUSPENDED},
    "detached-awaited": {"detached-awaited": SUSPENDED, "detached-awaited.1": SUSPENDED},
    "ids": {"ids": SUSPENDED, "own/begun-rpc": SUSPENDED, "own/rpc": DONE},
    "keys": {"keys": SUSPENDED, "keys.2": DONE},
    "versions": {"versions": SUSPENDED, "versions.1": SUSPENDED},
    "encoder": {"encoder": SUSPENDED, "encoder.3": WAITING},
    "acquired": {"acquired": "pending, acquired"},
    "attempts": {"attempts": "pending, acquired"},
    "halted": {"halted": "pending, halted"},
    "halted-by-request": {"halted-by-request": "pending, halted"},
    "halted-changed": {"halted-changed": "pending, halted"},
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
    "strangers": {
        "strangers": SUSPENDED,
        "strangers.1": "rejected, fulfilled",
        "strangers.2": "rejected, fulfilled",
        "strangers.3": "rejected, fulfilled",
        "strangers.4": DONE,
    },
    "schedule-running": {"schedule-running.1750003200000": SUSPENDED},
}
TASKS["2026-11-30"] = {
    "chatting": {"chatting": SUSPENDED},
    **{name: TASKS["0.1.0"][name] for name in ("ids", "halted", "halted-by-request", "registered")},
    "refused": {"refused": SUSPENDED, "refused.2": DONE},
    "timed": {"timed": SUSPENDED},
    "kept": {"kept": SUSPENDED},
    "distracted": {"distracted": SUSPENDED},
    "several": {"several": SUSPENDED},
    "interrupted": {"interrupted": SUSPENDED},
}
TASKS["2026-12-01"] = {"pinned": {"pinned": "pending, acquired"}, "retry": {"retry": SUSPENDED}}
TASKS["2026-12-01-forks"] = {
    "forked": {"source": "rejected, fulfilled", "forked": SUSPENDED, "forked.2": DONE},
}
TASKS["2026-11-30"] |= {"limited": {"limited": SUSPENDED}, "endless": {"endless": SUSPENDED}}
"""The states of promises and tasks in the fixtures of each generation, by scenario."""

FIXTURES = {generation: fixtures_of(generation, list(SCENARIOS)) for generation in generations()}
both = pytest.mark.parametrize("substrate", SUBSTRATES)


def lines(generation: str) -> list[Any]:
    """Return the lines of all tables of a generation."""
    fixtures = [each for each in FIXTURES[generation] if each.substrate == "dynamodb"]
    return [line for fixture in fixtures for line in lines_of(fixture)[1:]]


def test_fixtures_are_as_they_were_written(subtests: pytest.Subtests) -> None:
    assert set(TASKS) == set(generations())
    for generation in generations():
        with subtests.test(generation):
            assert hashes(generation) == sealed(generation)


@both
def test_fixtures_have_tasks_in_these_states(substrate: str, subtests: pytest.Subtests) -> None:
    for generation, expected in TASKS.items():
        found = [each for each in FIXTURES[generation] if each.substrate == substrate]
        scenarios = {scenario for scenario in expected if substrate in SCENARIOS[scenario].substrates}
        assert {each.scenario for each in found} == scenarios
        for fixture in found:
            with subtests.test(str(fixture)):
                assert tasks_of(fixture) == expected[fixture.scenario]


@both
def test_fixtures_have_tasks_with_different_histories(substrate: str) -> None:
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
def test_fixtures_have_the_timers_of_retries(substrate: str) -> None:
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
def test_fixtures_have_schedules_in_different_states(substrate: str) -> None:
    running = entry(substrate, "schedule-running", "schedule-running")
    assert (running.overlap, running.catch_up, running.next_run_at) == ("skip", "latest", 1_750_010_400_000)
    assert (running.last_promise, running.skipped_at) == ("schedule-running.1750003200000", 1_750_006_800_000)
    waiting = entry(substrate, "schedule", "schedule")
    assert (waiting.timezone, waiting.last_run_at, waiting.next_run_at) == ("Europe/Berlin", None, 1_750_041_000_000)
    assert entry(substrate, "schedule-paused", "schedule-paused").paused


@both
def test_fixtures_have_kinds_and_refusals_of_commands(substrate: str) -> None:
    def linked_tags(scenario: str, *names: str) -> dict[str, tuple[str | None, ...]]:
        found = entries_of(Fixture("2026-11-30", substrate, scenario))
        linked = [each for each in found if isinstance(each, Record) and "resonate:link" in each.tags]
        return {each.id: tuple(each.tags.get(f"resonate:{name}") for name in names) for each in linked}

    assert linked_tags("ids", "func", "kind", "name") == {
        "ids.1": ("run stamp", "run", "stamp"),
        "ids.2": ("run pair", "run", "pair"),
        "ids.3": ("rpc double", "rpc", "double"),
        "ids.4": ("a sleep", "sleep", None),
        "ids.5": ("run stamp", "run", "stamp"),
    }
    assert linked_tags("refused", "kind", "refused") == {
        "refused.1": ("promise", "yield"),
        "refused.3": ("rpc", "row"),
        "refused.4": ("rpc", "end"),
    }
    assert entry(substrate, "timed", "timed.1", "2026-11-30").tags["resonate:elapsed"] == "5000"


@both
def test_fixtures_have_waits_for_several_and_a_cancellation(substrate: str) -> None:
    def kinds_of(scenario: str) -> dict[str, str]:
        found = entries_of(Fixture("2026-11-30", substrate, scenario))
        return {
            each.id: each.tags["resonate:kind"]
            for each in found
            if isinstance(each, Record) and "resonate:kind" in each.tags
        }

    assert kinds_of("several") == {"several.3": "race", "several.9": "race"}
    assert kinds_of("interrupted") == {"interrupted.0~cancel": "cancel"}
    cancel = entry(substrate, "interrupted", "interrupted", "2026-11-30").cancel
    assert (cancel.at, cancel.reason) == (1_750_000_000_000, "stop")


@both
def test_fixtures_have_marks_of_attempts_and_patches(substrate: str) -> None:
    mark, marker = (entry(substrate, "limited", id, "2026-11-30") for id in ("limited.1~m1", "limited.patch~first"))
    assert (mark.tags["resonate:kind"], mark.tags["resonate:begun"]) == ("attempt", "1")
    assert [marker.tags[f"resonate:{tag}"] for tag in ("kind", "name", "after")] == ["patch", "first", "0"]


@both
def test_fixtures_have_callbacks_that_outlast_attempts(substrate: str) -> None:
    awaited = entry(substrate, "kept", "kept-a", "2026-11-30")
    assert awaited.callbacks == {"kept": 1, "\0kept": 1_750_000_000_000}
    assert entry(substrate, "kept", "kept-c", "2026-11-30").callbacks == {"kept": 2}
    assert "registered" in entry(substrate, "registered", "registered-a").callbacks
    assert "\0registered" in entry(substrate, "registered", "registered-a", "2026-11-30").callbacks


def test_outbox_of_sqlite_has_a_message_that_was_not_sent() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(Fixture("0.1.0", "sqlite", "listeners").path.read_text(encoding="utf-8"))
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        ((address, message),) = db.execute("SELECT address, message FROM outbox").fetchall()
    assert (address, msgspec.msgpack.decode(message)["data"]["promise"]["id"]) == (LISTENER, "unheard")


def test_bucket_has_confirmed_and_unconfirmed_large_values() -> None:
    param, value = entry("dynamodb", "large", "large").param, entry("dynamodb", "large", "large.1").value
    assert isinstance(param, Claim)
    assert isinstance(value, Claim)
    objects = [line["object"] for line in lines_of(Fixture("0.1.0", "dynamodb", "large")) if "object" in line]
    tags = {each["key"]: each["tags"] for each in objects}
    assert (param.unconfirmed, tags[param.key]) == (False, {})
    assert (value.unconfirmed, tags[value.key]) == (True, {"resonate": "unclaimed"})
    assert min(param.size, value.size) > 32 * 1024


def test_table_has_retention_markers_timers_and_messages() -> None:
    items = [line["item"] for line in lines("0.1.0") if "item" in line]
    markers = sorted(expiry.id for item in items if (expiry := expiry_of(item)))
    assert markers[2:6] == ["end-cancelled", "end-rejected", "end-resolved", "end-timedout"]
    schedules = [line["schedule"] for line in lines("0.1.0") if "schedule" in line]
    assert Counter(each["expression"].partition("(")[0] for each in schedules) == {"at": 43, "cron": 8}
    assert {each["input"]["kind"] for each in schedules} == {"timer", "schedule"}
    messages = [line["message"] for line in lines("0.1.0") if "message" in line]
    assert Counter(each["queue"] for each in messages) == {"TimerQueue": 5, "PushQueue": 3}
    keys = sorted(sorted(each["body"]) for each in messages if each["queue"] == "PushQueue")
    assert keys == [["address", "message"], ["address", "message"], ["expired"]]


def test_table_has_attributes_of_its_own(subtests: pytest.Subtests) -> None:
    fields = {each.name for kind in (Record, ScheduleRecord) for each in structs.fields(kind)}
    found = {name for line in lines("0.1.0") if "item" in line for name in line["item"]}
    assert found - fields == {"effects", "execution_state", "expire_at", "pk", "sk", "token", "wake_shard"}
    # Halted tasks have had partitions of their own since 2026-11-30.
    for generation, shards in (("0.1.0", {"5"}), ("2026-11-30", {"halted#5"})):
        halted = [line["item"] for line in lines_of(Fixture(generation, "dynamodb", "halted"))[1:] if "item" in line]
        with subtests.test(generation):
            assert {item["wake_shard"]["S"] for item in halted if "wake_shard" in item} == shards


@both
def test_suspended_task_names_what_it_awaits(substrate: str) -> None:
    suspended = present(entry(substrate, "retry", "retry", "2026-12-01").task)
    assert (suspended.state, suspended.awaits) == ("suspended", "retry.2~3")
    assert present(entry(substrate, "retry", "retry").task).awaits is None


@both
def test_fixtures_have_each_field_that_is_stored(substrate: str) -> None:
    # A new field of a record needs a fixture that has it: see README.md.
    found: set[str] = set()

    def look(struct: Any) -> None:
        for each in structs.fields(struct):
            value = getattr(struct, each.name)
            if value not in (each.default, None, {}, ()):
                found.add(f"{type(struct).__name__}.{each.name}")
            if isinstance(value, (TaskRecord, Value)):
                look(value)

    for fixture in chain(*FIXTURES.values()):
        if fixture.substrate == substrate:
            for each in entries_of(fixture):
                look(each)
    kinds = [Record, TaskRecord, ScheduleRecord, Value, *([Claim] if substrate == "dynamodb" else [])]
    # Only a store that registers each wait by itself needs to know which one is not awaited.
    inherited = {"Claim.headers", "Claim.data", *(["TaskRecord.unawaited"] if substrate == "sqlite" else [])}
    assert {f"{kind.__name__}.{each.name}" for kind in kinds for each in structs.fields(kind)} - inherited <= found


@both
def test_fixtures_have_each_tag_that_is_stored(substrate: str) -> None:
    # A new tag of `resonate_store.model.tags` needs a fixture that has it: see README.md.
    entries = [
        each for fixture in chain(*FIXTURES.values()) if fixture.substrate == substrate for each in entries_of(fixture)
    ]
    found = {tag for each in entries if isinstance(each, Record) for tag in each.tags if tag.startswith("resonate:")}
    known = {value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)} - {tags.HEADER}
    assert found == known | {"resonate:root"}, "the official SDKs write the root"


@both
def test_fixture_of_a_fork_has_its_keys(substrate: str) -> None:
    fork = entry(substrate, "forked", "forked", "2026-12-01-forks")
    assert (fork.tags["resonate:forked-from"], fork.tags["resonate:key-stem"]) == ("source", "source")
    keys = entry(substrate, "forked", "forked.0~keys", "2026-12-01-forks")
    assert codec.decode(keys.value) == {".1": ["run stamp", None], ".2": ["run stamp", "source.2"]}
    assert entry(substrate, "forked", "source.2", "2026-12-01-forks").tags["resonate:undoes"] == "1"


@both
def test_fixture_of_messages_waits_with_an_inbox(substrate: str) -> None:
    fixture = next(
        each for each in FIXTURES["2026-11-30"] if each.scenario == "chatting" and each.substrate == substrate
    )
    records = [each for each in entries_of(fixture) if isinstance(each, Record)]
    root = next(each for each in records if each.id == "chatting")
    assert root.task is not None
    assert (root.task.state, root.task.receives) == ("suspended", ("chat",))
    assert root.inbox is not None
    assert (root.inbox.accepted, root.inbox.waiting) == (3, 1)
    assert sorted(each.tags["resonate:taken-by"] for each in records if "resonate:taken-by" in each.tags) == [
        "chatting.1",
        "chatting.5",
    ]


@both
def test_fixture_of_a_pinned_execution_has_its_version(substrate: str) -> None:
    assert entry(substrate, "pinned", "pinned", "2026-12-01").pinned == "lambda://gone:7"
