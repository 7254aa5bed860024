"""The page of one execution, and of one promise."""

from __future__ import annotations

import json

import pytest

from resonate.payloads.codec import encode
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    TaskAcquire,
    TaskHalt,
    TaskRelease,
)
from resonate_store.model.tags import KIND, SCOPE
from tests.support.console_demo import LATER, MONDAY, Shop, many_steps, raised
from tests.support.console_pages import Pages, problem_in, rows_in, text_of


def test_page_of_a_failed_execution_shows_arguments_and_error(filled: Pages) -> None:
    text = filled.text("/execution?id=order-4119")
    for part in (
        "order-4119 failed",
        "Function order Started 09:30:00 10m 6s ago Took 19.3s Commands 5",
        'Arguments amount = 3150 currency = "EUR" address = {"street": "Rosenweg 8", "city": "Hamburg"}',
        "ConnectionError payments.example.com refused the connection Traceback (most recent call last):",
        "3 charge \N{MULTIPLICATION SIGN}3 failed",
    ):
        assert part in text
    assert "every 2s" not in filled.get("/execution?id=order-4119")


@pytest.mark.parametrize(
    ("id", "status", "why"),
    [
        ("order-4121", "retrying", "order-4121.2: attempt 2 failed: TimeoutError: payments.example.com did not"),
        ("stocktake-7", "waiting", "stocktake-7.1: waiting for a worker of warehouse; none is connected"),
        ("support-312", "waiting", "waiting for a message: answer"),
        ("refund-88", "halted", "Halted. ReplayError: the code has no command 2"),
    ],
)
def test_page_of_a_pending_execution_says_why_it_waits(filled: Pages, id: str, status: str, why: str) -> None:
    text = filled.text(f"/execution?id={id}")
    assert f"{id} {status}" in text
    assert why in text


def test_call_without_a_worker_is_shown_as_waiting_for_one(filled: Pages) -> None:
    for view in ("timeline", "tree"):
        page = filled.text(f"/execution?id=stocktake-7&view={view}")
        assert "1 count waiting for a worker" in page
        assert "running" not in page
    assert "rpc count waiting for a worker" in filled.text("/promise?id=stocktake-7.1")
    assert "4 pack running" in filled.text("/execution?id=order-4123")


def test_waiting_execution_says_at_the_top_what_the_list_says(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.promise("a.1", MONDAY)
    shop.sleep("a.2", MONDAY, LATER)
    shop.suspend("a", "a.1", "a.2")
    listed = rows_in(pages.get("/executions"))[0]
    assert listed[0] == "waiting"
    assert listed[-1] == "waiting for a.1"
    assert f"Now: {listed[-1]} Arguments" in pages.text("/execution?id=a")


@pytest.mark.parametrize(("reason", "said"), [("<b>plans</b>", ": <b>plans</b>"), ("", "")])
def test_cancelled_and_halted_execution_shows_both_reasons(pages: Pages, shop: Shop, reason: str, said: str) -> None:
    shop.begin("a", MONDAY)
    shop.ask(PromiseCancel("a", reason))
    shop.ask(TaskHalt("a", reason="the disk is full"))
    page = pages.get("/execution?id=a")
    assert f"Cancellation requested{said or '.'}" in text_of(page)
    assert "Halted. the disk is full" in text_of(page)
    assert "<b>plans" not in page
    assert rows_in(pages.get("/executions"))[0][-1] == f"cancellation requested{said} the disk is full"

    shop.ask(PromiseSettle("a", "rejected_canceled"))
    assert "requested" not in pages.text("/execution?id=a")
    assert rows_in(pages.get("/executions"))[0][-1] == "canceled"


def test_page_names_the_worker_and_end_of_a_lease(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    assert "acquired, version 1 held by shop-1 until 2026-11-30 09:01:00.000 UTC" in pages.text("/execution?id=a")


def test_parts_of_a_pending_execution_are_refreshed(filled: Pages) -> None:
    page = filled.get("/execution?id=order-4123")
    for part in ("head", "rows"):
        assert f"part={part}" in page
        fragment = filled.get(f"/execution?id=order-4123&part={part}&view=timeline")
        assert "<html" not in fragment
    assert filled.get("/execution?id=order-4123&part=rows").startswith('<div id="rows-0" class="chunk" hx-get=')


def test_panel_shows_every_failed_attempt(filled: Pages) -> None:
    text = filled.text("/execution?id=order-4119&step=order-4119.3")
    assert "Attempt 1 failed at 09:30:02 ; the next one began 09:30:06" in text
    assert "Attempt 2 failed at 09:30:08 ; the next one began 09:30:16" in text
    assert text.count("Traceback (most recent call last)") == 4
    panel = filled.get("/promise?id=order-4119.3&part=panel")
    assert panel.count("Attempt ") == 2
    assert "<html" not in panel


def test_pages_without_javascript_have_links_for_everything(filled: Pages) -> None:
    page = filled.get("/execution?id=order-4120")
    assert 'href="/console/execution?id=order-4120&amp;view=timeline&amp;step=order-4120.2"' in page
    assert 'href="/console/execution?id=order-4120&amp;view=timeline&amp;toggle=order-4120.2"' in page
    closed = filled.text("/execution?id=order-4120&toggle=order-4120.2")
    assert "weigh" not in closed
    assert "weigh" in filled.text("/execution?id=order-4120")


def test_tree_shows_values_and_errors(filled: Pages) -> None:
    text = filled.text("/execution?id=order-4119&view=tree")
    assert '1 reserve resolved {"stock": 3}' in text
    assert (
        "3 charge \N{MULTIPLICATION SIGN}3 failed ConnectionError: payments.example.com refused the connection" in text
    )


def test_retrying_step_shows_attempts_so_far_and_the_next_one(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.try_step("a.1", "bank", MONDAY)
    shop.retry("a.1", 3, MONDAY + 1_000, MONDAY + 60_000, raised(ValueError("no")))
    times = "\N{MULTIPLICATION SIGN}"
    shop.suspend("a", "a.1~3")
    assert "Records order retrying" in pages.text("/execution?id=a&view=tree")
    for view in ("timeline", "tree"):
        assert f"1 bank {times}3, next: 4 retrying" in pages.text(f"/execution?id=a&view={view}")
    facts = "Attempts so far 3 Next attempt 4"
    panel = text_of(pages.get("/promise?id=a.1&part=panel"))
    assert facts in panel
    assert "Attempt 3 failed at" in panel

    pages.clock.advance_to(MONDAY + 60_000)
    shop.ask(PromiseSettle("a.1~3", "resolved"))
    assert f"1 bank {times}4 running" in pages.text("/execution?id=a")
    assert "Attempts 4" in text_of(pages.get("/promise?id=a.1&part=panel"))


def test_retrying_task_shows_attempts_so_far_and_the_next_one(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.ask(TaskRelease("a", 1, error="ValueError: no"))
    text = pages.text("/execution?id=a")
    assert "a waiting for a worker" in text  # there is no pause after the first failure
    assert "Attempts so far 1 Next attempt 2" in text
    assert "attempt 1 failed: ValueError: no" in text
    assert rows_in(pages.get("/executions"))[0][5] == "1"


@pytest.mark.parametrize(
    ("kind", "value", "winner"),
    [("race", 1, "first: number 2"), ("any", 0, "first value: number 1"), ("all", 2, "first error: number 3")],
)
def test_winner_is_in_words_in_timeline_tree_and_panel(
    pages: Pages, shop: Shop, kind: str, value: int, winner: str
) -> None:
    shop.begin("a", MONDAY)
    tags = {**shop.lineage("a.1"), SCOPE: "local", KIND: kind}
    shop.ask(PromiseRecord("a.1", LATER, MONDAY, "resolved", encode(value, "it"), tags=tags))
    assert f"1 ctx.{kind} {winner}" in pages.text("/execution?id=a")
    assert f"1 ctx.{kind} resolved {winner}" in pages.text("/execution?id=a&view=tree")
    assert text_of(pages.get("/promise?id=a.1&part=panel")).partition("Result ")[2].startswith(f"{winner} Tags")


def test_messages_and_published_state_are_shown(filled: Pages) -> None:
    text = filled.text("/execution?id=support-312&view=messages")
    assert 'progress 09:39:10 {"asked": 2, "open": 1}' in text
    assert 'The workflow waits for: answer note 09:39:10 "please call me back"' in text


def test_long_execution_is_shown_in_windows(pages: Pages, shop: Shop) -> None:
    many_steps(shop, "big", MONDAY, 620)
    page = pages.get("/execution?id=big")
    assert page.count('class="pick"') == 50
    assert 'part=rows&amp;count=50" hx-trigger="load"' in page
    assert 'from=50" hx-trigger="revealed"' in page
    assert "Commands 51 and later" in page
    again = pages.get("/execution?id=big&part=rows&count=50")
    assert again.count('class="pick"') == 50
    assert 'hx-trigger="load"' not in again
    chunk = pages.get("/execution?id=big&part=rows&from=600")
    assert chunk.count('class="pick"') == 20
    assert 'class="pick" href' in chunk
    assert "hx-trigger" not in chunk
    assert ">620<" in chunk
    assert "Commands 201 to 300 of 620" in pages.get("/execution?id=big&part=rows&from=100")
    assert "621 to 621 of 621" not in pages.text("/execution?id=big&view=records&from=600")


def test_records_are_shown_as_they_are_stored(filled: Pages) -> None:
    assert "&#34;id&#34;: &#34;order-4119.5&#34;" in filled.get("/execution?id=order-4119&view=records")
    stored = json.loads(filled.get("/records?id=order-4119.1"))
    assert stored["promise"]["value"]["data"] == "eyJzdG9jayI6M30="
    assert stored["task"] is None
    history = json.loads(filled.get("/export?id=order-4119"))
    assert (history["format"], len(history["records"])) == ("resonate-history", 8)


def test_encrypted_and_large_payloads_are_not_shown(pages: Pages, shop: Shop) -> None:
    hidden = Value({"x-encrypted": "true", "x-encryption-key-id": "k1"}, "c2VjcmV0")
    shop.ask(PromiseCreate("secret", LATER, hidden))
    text = pages.text("/execution?id=secret")
    assert "Encrypted with the key k1 . The console has no keys." in text
    assert pages.get("/payload?id=secret&side=param") == "This payload is encrypted."

    shop.ask(PromiseCreate("large", LATER, encode("x" * 70_000, "it")))
    page = pages.get("/execution?id=large")
    assert "68 KB are not shown here." in page
    assert len(page) < 30_000
    assert pages.get("/payload?id=large&side=param") == '"' + "x" * 70_000 + '"'


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        ("/execution?id=nothing", 404, "There is no promise 'nothing'"),
        ("/promise?id=nothing", 404, "There is no promise 'nothing'"),
        ("/export?id=nothing", 404, "There is no promise 'nothing'"),
        ("/execution", 400, "Give the id of an execution"),
        ("/execution?id=order-4119&view=odd", 400, "There is no view 'odd'"),
    ],
)
def test_unknown_execution_is_named(filled: Pages, path: str, status: int, problem: str) -> None:
    assert problem_in(filled.get(path, status)) == problem


def test_page_names_the_version_that_a_task_is_pinned_to(pages: Pages, shop: Shop) -> None:
    shop.ask(PromiseCreate("a", LATER, tags={"resonate:target": "lambda://shop"}))
    shop.ask(TaskAcquire("a", 0, "p", 60_000, pin="lambda://shop:7"))
    assert "Pinned to shop:7" in pages.text("/execution?id=a")
