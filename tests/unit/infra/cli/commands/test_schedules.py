"""`resonate schedules`."""

from __future__ import annotations

from itertools import pairwise

from resonate import Resonate
from tests.support.command_line import CommandLine

DAILY = ("--cron", "0 7 * * *", "--func", "double", "--arg", "1", "--target", "worker")


def test_schedule_is_created_shown_listed_and_deleted(anywhere: CommandLine, id: str) -> None:
    created = anywhere.json(
        *("schedules", "create", id, *DAILY, "--timezone", "Europe/Berlin", "--timeout", "1h", "--tag", f"test={id}"),
        *("--catch-up", "latest", "--overlap", "skip", "--description", "every morning"),
    )
    assert created["promiseParam"]["data"] == {"func": "double", "args": [1], "kwargs": {}, "version": 1}
    assert (created["timezone"], created["promiseTimeout"]) == ("Europe/Berlin", 3_600_000)
    assert created["promiseTags"]["resonate:target"] == "poll://any@worker"
    assert (created["catchUp"], created["overlap"], created["description"]) == ("latest", "skip", "every morning")

    assert anywhere.json("schedules", "get", id) == created
    shown = anywhere.ok("schedules", "get", id).fields
    assert (shown["cron"], shown["policies"]) == ("0 7 * * * (Europe/Berlin)", "catch up latest, overlap skip")
    [row] = anywhere.ok("schedules", "list", "--tag", f"test={id}").rows
    assert row == [id, "0 7 * * *", "Europe/Berlin", shown["next"]]

    assert anywhere.ok("schedules", "delete", id).out == f"deleted {id}\n"
    for command in ("get", "delete", "pause", "resume", "trigger", "next"):
        assert anywhere.fails("schedules", command, id) == (6, f"there is no schedule {id!r}")


def test_schedule_equals_that_of_the_sdk(resonate: CommandLine, client: Resonate, id: str) -> None:
    client.options(target="worker", timeout=3600).schedule(f"{id}-sdk", "double", "0 7 * * *", 1)
    resonate.ok("schedules", "create", f"{id}-cli", *DAILY, "--timeout", "1h")

    def definition(name: str) -> dict[str, object]:
        shown = resonate.json("schedules", "get", name, "--raw")
        return {key: value for key, value in shown.items() if key not in ("id", "createdAt", "nextRunAt", "tags")}

    assert definition(f"{id}-cli") == definition(f"{id}-sdk")


def test_schedule_created_again_must_be_the_same(resonate: CommandLine, id: str) -> None:
    first = resonate.json("schedules", "create", id, *DAILY)

    assert resonate.json("schedules", "create", id, *DAILY) == first
    code, line = resonate.fails("schedules", "create", id, *DAILY, "--overlap", "skip", "--timeout", "1m")
    assert code == 1
    assert line.startswith(f"schedule {id!r} exists already with another promise_timeout and overlap: ")


def test_schedule_is_paused_resumed_and_triggered(resonate: CommandLine, id: str) -> None:
    resonate.ok("schedules", "create", id, *DAILY)

    assert resonate.ok("schedules", "pause", id).fields["state"] == "paused"
    promise = resonate.json("schedules", "trigger", id)
    assert promise["id"].startswith(f"{id}.")
    assert resonate.ok("invoke", promise["id"], "-f", "double", "--wait").out == "2\n"
    resumed = resonate.ok("schedules", "resume", id).fields
    assert (resumed["state"], resumed["last promise"]) == ("active", promise["id"])


def test_schedule_next_shows_occurrences(resonate: CommandLine, id: str) -> None:
    resonate.ok("schedules", "create", id, "--cron", "30 7 * * mon", "-f", "double", "-a", "1")

    lines = resonate.ok("schedules", "next", id, "-n", "3").out.splitlines()
    assert [line[11:] for line in lines] == ["07:30:00Z"] * 3
    runs = resonate.json("schedules", "next", id, "-n", "3")["nextRuns"]
    assert [later - earlier for earlier, later in pairwise(runs)] == [7 * 86_400_000] * 2


def test_schedule_without_function_has_data_and_target(resonate: CommandLine, id: str) -> None:
    created = resonate.json(
        "schedules", "create", id, "--cron", "@daily", "--data", '{"x": 1}', "-t", "https://a.example"
    )

    assert created["promiseParam"]["data"] == {"x": 1}
    assert created["promiseTags"] == {"resonate:target": "https://a.example"}


def test_schedule_is_changed_in_what_is_given(anywhere: CommandLine, id: str) -> None:
    created = anywhere.json("schedules", "create", id, *DAILY, "--overlap", "skip", "--tag", "team=a")

    changed = anywhere.json("schedules", "update", id, "--cron", "0 9 * * *", "--timezone", "Europe/Berlin")
    assert changed.pop("nextRunAt") != created["nextRunAt"]
    assert changed == {**{k: v for k, v in created.items() if k != "nextRunAt"}, **CHANGED}
    called = anywhere.json("schedules", "update", id, "-f", "order", "-a", "3", "--timeout", "1h", "--description", "x")
    assert called["promiseParam"]["data"]["args"] == [3]
    assert called["promiseTags"] == {**created["promiseTags"], "resonate:func": "order"}
    assert (called["promiseTimeout"], called["description"]) == (3_600_000, "x")
    back = anywhere.json("schedules", "update", id, "--timezone", "UTC", "--description", "", "--target", "other")
    assert ("timezone" in back, "description" in back) == (False, False)
    assert back["promiseTags"]["resonate:target"] == "poll://any@other"
    assert anywhere.fails("schedules", "update", id, "--arg", "1")[0] == 2
    assert anywhere.fails("schedules", "update", "none", "--cron", "@daily")[0] == 6


CHANGED = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}


def test_schedule_is_backfilled(anywhere: CommandLine, id: str) -> None:
    anywhere.ok("schedules", "create", id, *DAILY)
    part = ("schedules", "backfill", id, "--from", "2026-03-01T00:00Z", "--to", "2026-03-04T00:00+01:00")
    assert anywhere.ok(*part, "--dry-run").out == f"{id} has 3 occurrences in this time\n"
    assert anywhere.json(*part) == {"id": id, "occurrences": 3, "created": 3, "existing": 0, "skipped": 0}
    assert anywhere.ok(*part).out == "0 created, 3 existed, 0 skipped\n"
    assert anywhere.json("promises", "get", f"{id}.1772348400000")["state"] in ("pending", "resolved")
    assert anywhere.fails(*part, "--max", "2") == (
        1,
        f"schedule {id!r} has more than 2 occurrences in this time: shorten it, or allow more by --max",
    )
    assert anywhere.fails("schedules", "backfill", id, "--from", "yesterday", "--to", "0s")[0] == 2
