"""The list of executions."""

from __future__ import annotations

import pytest

from tests.support.console_demo import fill
from tests.support.console_pages import Pages, problem_in, rows_in


def ids(pages: Pages, query: str) -> list[str]:
    return [row[1] for row in rows_in(pages.get(f"/executions?{query}")) if len(row) > 1]


def test_list_shows_what_each_execution_does(filled: Pages) -> None:
    rows = {row[1]: row for row in rows_in(filled.get("/executions"))}

    assert rows["order-4119"] == [
        *("failed", "order-4119", "order", "09:30:00", "19.3s", "\N{EN DASH}"),
        "ConnectionError: payments.example.com refused the connection",
    ]
    assert rows["order-4121"][0] == "retrying"
    assert rows["order-4121"][5:] == [
        "2",
        "order-4121.2: attempt 2 failed: TimeoutError: payments.example.com did not answer within 10 s;"
        " next at 09:42:40",
    ]
    assert [rows[id][0] for id in ("refund-88", "refund-87", "order-4101", "order-4122")] == [
        *("halted", "canceled", "resolved", "waiting"),
    ]
    assert rows["support-312"][6] == "waiting for a message: answer"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=failed", ["order-4119", "order-4114", "order-4107"]),
        ("state=halted", ["refund-88"]),
        ("state=retrying", ["order-4121"]),
        ("func=refund", ["refund-87", "refund-88"]),
        ("id=stock", ["stocktake-7"]),
        ("since=60s", ["order-4123", "support-312"]),
        ("since=2026-11-30T09:38:40&id=order", ["order-4123", "order-4122"]),
        ("tag=resonate:func%3Dsupport", ["support-312"]),
        ("id=nothing", []),
    ],
)
def test_list_is_filtered(filled: Pages, query: str, found: list[str]) -> None:
    assert ids(filled, query) == found


def test_counts_come_after_the_page(filled: Pages) -> None:
    page = filled.get("/executions?state=failed")
    assert 'hx-get="/console/executions?part=counts&amp;state=failed" hx-trigger="load, every 10s"' in page
    counts = filled.text("/executions").partition("Function")[0]
    assert "failed 3" not in counts
    part = filled.get("/executions?part=counts&state=failed")
    for status, count in {"halted": 1, "failed": 3, "retrying": 1}.items():
        assert f'{status}<span class="count">{count}<' in part
    assert 'state=failed" aria-current="page"' in part


def test_pages_follow_each_other(pages: Pages) -> None:
    for number in range(60):
        pages.shop.begin(f"a-{number:02}", pages.clock.now() + 1_000)
    first = pages.get("/executions")
    following = first.partition('rel="next" href="/console')[2].partition('"')[0].replace("&amp;", "&")

    assert [row[1] for row in rows_in(first)][:2] == ["a-59", "a-58"]
    assert [row[1] for row in rows_in(pages.get(following))] == [f"a-{number:02}" for number in reversed(range(10))]
    assert 'hx-trigger="every 3s"' in first
    assert "every 3s" not in pages.get(following)


@pytest.mark.parametrize(
    ("query", "status", "problem"),
    [
        ("state=odd", 400, "There is no state 'odd'"),
        ("since=soon", 400, "The time of the start must be a duration before now such as 24h"),
        ("cursor=zz", 400, "'zz' is no cursor of a execution.search"),
    ],
)
def test_wrong_filter_is_named(filled: Pages, query: str, status: int, problem: str) -> None:
    assert problem_in(filled.get(f"/executions?{query}", status)).startswith(problem)


def test_empty_list_says_how_to_begin(pages: Pages) -> None:
    assert "No executions yet. Start one , or run a worker that does." in pages.text("/executions")
    assert "No execution matches these filters." in pages.text("/executions?func=f")


def test_server_of_the_official_protocol_is_searched() -> None:
    pages = Pages(old=True)
    fill(pages.store, pages.clock)
    rows = {row[1]: row for row in rows_in(pages.get("/executions"))}
    assert (rows["order-4119"][0], rows["order-4121"][0]) == ("failed", "waiting")
    assert [row[1] for row in rows_in(pages.get("/executions?state=rejected_canceled"))] == ["refund-87"]
    assert 'class="count">&nbsp;<' in pages.get("/executions?part=counts")

    buttons = pages.text("/execution?id=order-4119").partition("Function")[0]
    assert [word for word in ("Redrive", "Fork", "Delete") if word in buttons] == []
    assert "order-4122.2" in pages.text("/people")
    assert "This server does not answer which workers it knows." in pages.text("/workers")
    assert "Backfill" not in pages.text("/schedules")
