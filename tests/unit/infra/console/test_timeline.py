"""Rows and bars of a timeline."""

from __future__ import annotations

import re

from resonate_infra.console.backend import ConsoleSession
from resonate_infra.console.history import Histories
from resonate_infra.console.timeline import LEAST_WIDTH, TimelineRow, overview_of, rows_of, scale_of
from resonate_store.model.requests import PromiseSettle
from tests.support.console_demo import LATER, MONDAY, Shop, raised
from tests.support.console_pages import Pages


def rows(pages: Pages, id: str, *toggled: str) -> dict[str, TimelineRow]:
    """Return the rows of an execution by id, with the execution itself."""
    session = ConsoleSession(pages.store, pages.clock)
    records = Histories().read(session, id)
    node, now = records.window(session, 0), pages.clock.now()
    scale = scale_of(records.root, now)
    found = {row.id: row for row in rows_of(node, scale, now, toggled, 10)}
    return {**found, id: overview_of(node, scale, now, True)}


def bars(row: TimelineRow) -> list[tuple[str, float, float]]:
    return [(bar.kind, bar.x, bar.width) for bar in row.bars]


def test_attempts_are_segments_and_pauses_lie_between_them(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.try_step("a.1", "charge", MONDAY + 1_000)
    shop.retry("a.1", 2, MONDAY + 2_000, MONDAY + 4_000, raised(ValueError("no")))
    pages.clock.advance_to(MONDAY + 4_000)
    shop.ask(PromiseSettle("a.1~2", "resolved"))
    shop.settle("a.1", MONDAY + 5_000, 7)
    shop.end("a", MONDAY + 10_000)
    row = rows(pages, "a")["a.1"]

    assert bars(row) == [("failed", 10, 10), ("pause", 20, 20), ("ok", 40, 10)]
    assert [bar.title for bar in row.bars][::2] == ["attempts 1 to 2: ValueError: no", "attempt 3"]
    assert (row.ticks, row.attempts, row.status, row.took_ms) == ((20,), 3, "resolved", 4_000)
    assert row.next_attempt is None


def test_pending_retry_ends_with_its_pause(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.try_step("a.1", "charge", MONDAY)
    shop.retry("a.1", 1, MONDAY + 1_000, LATER, raised(ValueError("no")))
    pages.clock.advance_to(MONDAY + 3_000)
    row = rows(pages, "a")["a.1"]

    assert [kind for kind, _, _ in bars(row)] == ["failed", "pause"]
    assert (row.status, row.pending, row.took_ms) == ("retrying", True, None)
    assert (row.attempts, row.next_attempt) == (1, 2)
    assert row.note == "attempt 1 failed: ValueError: no; next at 2027-11-30T09:00:00Z"


def test_each_command_has_its_kind_of_bar(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.sleep("a.1", MONDAY, MONDAY + 1_000)
    shop.ask(PromiseSettle("a.1", "resolved"))
    shop.promise("a.2", MONDAY + 1_000)
    shop.call("a.3", MONDAY + 1_000, "pack")
    shop.step("a.3.1", "weigh", MONDAY + 2_000, 0)
    shop.settle("a.3", MONDAY + 3_000, error=ValueError("no"))
    shop.step("a.4", "fail", MONDAY + 3_000, 10, error=ValueError("no"))
    found = rows(pages, "a")

    assert {id: (row.kind, row.status) for id, row in found.items()} == {
        "a": ("workflow", "running"),
        "a.1": ("sleep", "resolved"),
        "a.2": ("promise", "waiting"),
        "a.3": ("call", "rejected"),
        "a.3.1": ("step", "resolved"),
        "a.4": ("step", "rejected"),
    }
    assert {id: [bar.kind for bar in row.bars] for id, row in found.items()} == {
        "a": ["call", "run"],
        "a.1": ["sleep"],
        "a.2": ["wait"],
        "a.3": ["call", "idle", "failed"],
        "a.3.1": ["ok"],
        "a.4": ["failed"],
    }
    assert bars(found["a.3.1"])[0][2] == LEAST_WIDTH
    assert (found["a.3"].link, found["a.4"].link) == ("a.3", None)


def test_cancelled_call_and_step_have_the_bar_of_cancelled(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.call("a.1", MONDAY, "pack")
    shop.try_step("a.2", "weigh", MONDAY)
    pages.clock.advance_to(MONDAY + 1_000)
    shop.ask(PromiseSettle("a.1", "rejected_canceled"))
    shop.ask(PromiseSettle("a.2", "rejected_canceled"))
    found = rows(pages, "a")
    assert [bar.kind for bar in found["a.1"].bars] == ["call", "canceled"]
    assert [bar.kind for bar in found["a.2"].bars] == ["canceled"]
    assert (found["a.1"].ticks, found["a.2"].ticks, found["a.1"].failed) == ((), (), False)
    assert 'class="bar canceled"' in pages.get("/execution?id=a")


def test_each_gridline_has_its_label(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    pages.clock.advance_to(MONDAY + 11_500)
    page = pages.get("/execution?id=a")
    assert page.count('class="gridline"') == page.count('class="label"') == 7
    assert re.search(r'<text class="label" x="100.0%" y="15" text-anchor="end">12s</text>', page)


def test_sleep_says_until_when_it_lasts(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.sleep("a.1", MONDAY, MONDAY + 60_000)
    pages.clock.advance_to(MONDAY + 3_000)
    row = rows(pages, "a")["a.1"]
    assert (row.note, row.bars[0].title) == ("sleeps until 2026-11-30T09:01:00Z",) * 2
    assert "sleeps until 09:01:00" in pages.text("/execution?id=a&view=tree")
    panel = pages.get("/promise?id=a.1&part=panel")
    assert re.search(r"sleeps until\s+<time [^>]*>09:01:00</time>", panel)
    assert "Deadline" not in panel

    pages.clock.advance_to(MONDAY + 70_000)
    assert rows(pages, "a")["a.1"].note == "slept until 2026-11-30T09:01:00Z"
    assert "slept until 09:01:00" in pages.text("/execution?id=a&view=tree")
    panel = pages.get("/promise?id=a.1&part=panel")
    assert re.search(r"slept until\s+<time [^>]*>09:01:00</time>", panel)
    assert "null" not in panel


def test_nested_rows_are_toggled(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.call("a.1", MONDAY, "pack")
    shop.step("a.1.1", "weigh", MONDAY, 1)

    assert [(row.id, row.depth, row.open) for row in list(rows(pages, "a").values())[:-1]] == [
        ("a.1", 0, True),
        ("a.1.1", 1, False),
    ]
    assert list(rows(pages, "a", "a.1")) == ["a.1", "a"]
    assert rows(pages, "a", "a.1")["a.1"].below == 1


def test_axis_of_a_pending_execution_ends_later(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    pages.clock.advance_to(MONDAY + 11_000)
    assert bars(rows(pages, "a")["a"])[0] == ("call", 0, 91.667)
