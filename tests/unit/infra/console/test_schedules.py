"""Schedules on the console."""

from __future__ import annotations

from resonate_store.model.requests import PromiseGet
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet
from tests.support.console_demo import HOUR, MONDAY, Shop
from tests.support.console_pages import Pages, rows_in
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
