"""Schedules on the console."""

from __future__ import annotations

import pytest

from resonate.payloads.codec import encode, encode_call
from resonate.payloads.readable import ENCRYPTED
from resonate_store.model.records import EMPTY, Schedule, Value
from resonate_store.model.requests import PromiseGet
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet
from tests.support.console_demo import HOUR, MONDAY, Shop
from tests.support.console_pages import Pages, fields_in, rows_in
from tests.support.present import present


def test_schedules_show_next_occurrences_and_pauses(filled: Pages) -> None:
    report, stocktake = rows_in(filled.get("/schedules"))
    assert report[:4] == ["report report", "@hourly UTC", "paused", "never"]
    assert stocktake[:3] == [
        "stocktake stocktake",
        "0 6 * * mon Europe/Berlin",
        "Dec 7, 05:00:00 Dec 14, 05:00:00 Dec 21, 05:00:00",
    ]


def test_schedule_is_triggered_paused_and_resumed(pages: Pages, shop: Shop) -> None:
    shop.ask(ScheduleCreate("s", "@daily", "s.{{.timestamp}}", HOUR, promise_tags={"resonate:target": "poll://any@x"}))
    id = f"s.{MONDAY}"
    assert pages.done("/schedules/trigger", {"id": "s"}) == f"s has created {id}."
    assert present(pages.store.apply(PromiseGet(id)).promise).pending
    assert rows_in(pages.get("/schedules"))[0][3].endswith(f"waiting for a worker {id}")
    listed = rows_in(pages.get("/executions"))[0]
    assert listed[:2] == ["waiting for a worker", id]
    assert f"{id} waiting for a worker" in pages.text(f"/execution?id={id}")
    shop.settle(id, MONDAY + 5, error=ValueError("no"))
    assert f"failed {id}" in rows_in(pages.get("/schedules"))[0][3]

    assert pages.done("/schedules/pause", {"id": "s"}) == "s is paused."
    assert present(pages.store.apply(ScheduleGet("s")).schedule).paused
    assert "Resume" in rows_in(pages.get("/schedules"))[0][4]
    assert pages.done("/schedules/resume", {"id": "s"}) == "s is resumed."
    assert not present(pages.store.apply(ScheduleGet("s")).schedule).paused


def test_unknown_schedule_is_named(pages: Pages) -> None:
    assert pages.refused("/schedules/pause", {"id": "s"}) == (404, "There is no schedule 's'")
    assert pages.refused("/schedules/pause", {}) == (400, "The form names no schedule")
    assert "There are no schedules." in pages.text("/schedules")


def test_missed_occurrences_are_created_later(pages: Pages, shop: Shop) -> None:
    shop.ask(ScheduleCreate("s", "@daily", "s.{{.timestamp}}", HOUR, promise_tags={"resonate:target": "poll://any@x"}))
    said = pages.done("/schedules/backfill", {"id": "s", "from": "2d"})
    assert said == "2 occurrences of s were created, 0 existed already, 0 were left out."
    assert pages.refused("/schedules/backfill", {"id": "s"}) == (400, "Give the begin of the part of the past")
    status, problem = pages.refused("/schedules/backfill", {"id": "s", "from": "1990-01-01"})
    assert (status, "1000" in problem) == (400, True)


def stored(pages: Pages, id: str) -> Schedule:
    return present(pages.store.apply(ScheduleGet(id)).schedule)


def test_form_of_schedule_without_changes_changes_nothing(pages: Pages, shop: Shop, subtests: pytest.Subtests) -> None:
    tags = {"resonate:target": "poll://any@x", "customer": "c-88", "a=b": "ä\n<b>"}
    call = encode_call("order", (1, {"a": [None]}), {"note": "it's <i>"}, 3)
    encrypted = Value({ENCRYPTED: "true"}, "abcd")
    for name, param in (
        ("call", call),
        ("data", encode({"a": "</textarea>"}, "it")),
        ("none", EMPTY),
        ("large", encode("x" * 20_000, "it")),
        ("other", Value(None, "bm90IGpzb24=")),
        ("encrypted", encrypted),
    ):
        shop.ask(
            ScheduleCreate(name, "@daily", "s.{{.timestamp}}", 5_400_000, param, tags, None, "latest", "skip", "a\nb")
        )
        before = stored(pages, name)
        with subtests.test(param=name):
            shown = "Named arguments" in pages.text(f"/schedule?id={name}")
            hidden = "encrypted or large" in pages.text(f"/schedule?id={name}")
            assert (shown, hidden) == (name == "call", name in ("large", "encrypted"))
            fields = fields_in(pages.get(f"/schedule?id={name}"))
            assert pages.done("/schedules/update", fields) == f"{name} is changed."
            assert stored(pages, name) == before


def test_schedule_is_changed_by_its_form(pages: Pages, shop: Shop) -> None:
    tags = {"resonate:target": "poll://any@x", "resonate:func": "order", "customer": "c-88"}
    param = encode_call("order", (1,), {}, 1)
    shop.ask(ScheduleCreate("s", "@daily", "s.{{.timestamp}}", HOUR, param, tags))
    assert "Change" in rows_in(pages.get("/schedules"))[0][4]
    fields = fields_in(pages.get("/schedule?id=s"))
    assert (fields["timeout"], fields["timezone"], fields["tags"]) == ("1h", "UTC", '{"customer": "c-88"}')

    changed = {
        "cron": "0 6 * * mon",
        "timezone": "Europe/Berlin",
        "catch_up": "none",
        "overlap": "skip",
        "func": "refund",
        "args": "[2]",
        "kwargs": '{"why": "x"}',
        "version": "2",
        "target": "mail",
        "timeout": "90m",
        "promise_id": "t.{{.timestamp}}",
        "tags": '{"customer": "c-89"}',
        "description": "weekly",
    }
    pages.done("/schedules/update", {**fields, **changed})
    found = stored(pages, "s")
    assert found.promise_tags == {
        "resonate:target": "poll://any@mail",
        "resonate:func": "refund",
        "customer": "c-89",
    }
    assert found.promise_param == encode_call("refund", (2,), {"why": "x"}, 2)
    assert (found.cron, found.timezone, found.catch_up, found.overlap) == (
        *("0 6 * * mon", "Europe/Berlin", "none", "skip"),
    )
    assert (found.promise_timeout, found.promise_id, found.description) == (90 * 60_000, "t.{{.timestamp}}", "weekly")
    assert fields_in(pages.get("/schedule?id=s")) == {
        **fields,
        **changed,
        "target": "poll://any@mail",
        "seen": fields_in(pages.get("/schedule?id=s"))["seen"],
    }

    status, problem = pages.refused("/schedules/update", {**fields, "cron": "@hourly"})
    assert (status, problem) == (409, "The schedule was changed after this form was opened: open it again")


def test_wrong_change_of_schedule_is_refused(pages: Pages, shop: Shop, subtests: pytest.Subtests) -> None:
    tags = {"resonate:target": "poll://any@x"}
    shop.ask(ScheduleCreate("s", "@daily", "s.{{.timestamp}}", HOUR, encode_call("f", (), {}, 1), tags))
    fields, before = fields_in(pages.get("/schedule?id=s")), stored(pages, "s")
    for name, text in (
        ("cron", ""),
        ("cron", "every day"),
        ("timezone", "Mars"),
        ("catch_up", "some"),
        ("overlap", ""),
        ("timeout", "soon"),
        ("args", "{}"),
        ("kwargs", "[]"),
        ("kwargs", "{"),
        ("version", "x"),
        ("func", ""),
        ("tags", "[]"),
        ("tags", '{"a": 1}'),
        ("tags", '{"resonate:target": "x"}'),
    ):
        with subtests.test(name=name, text=text):
            assert pages.refused("/schedules/update", {**fields, name: text})[0] == 400
            assert stored(pages, "s") == before
    assert pages.refused("/schedules/update", {**fields, "id": "t"})[0] == 404


def test_server_without_updates_shows_no_form() -> None:
    pages = Pages(old=True)
    pages.shop.ask(
        ScheduleCreate("s", "@daily", "s.{{.timestamp}}", HOUR, promise_tags={"resonate:target": "poll://any@x"})
    )
    assert "Change" not in pages.text("/schedules")
    pages.get("/schedule?id=s", 409)
    pages.get("/schedule?id=t", 404)
