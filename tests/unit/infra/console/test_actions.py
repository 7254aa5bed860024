"""What a user does to an execution."""

from __future__ import annotations

import pytest

from resonate_store.model.requests import PromiseGet, TaskGet
from tests.support.console_demo import LATER, MONDAY, Shop, raised
from tests.support.console_pages import Pages, text_of
from tests.support.present import present


def task_state(pages: Pages, id: str) -> str:
    return present(pages.store.apply(TaskGet(id)).task).state


def test_execution_is_halted_with_a_reason_and_continued(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    said = pages.done("/execution/halt", {"id": "a", "reason": "the disk is full"})
    assert said == "Halted. No worker gets its task until it is continued."
    assert task_state(pages, "a") == "halted"
    assert "Halted. the disk is full" in pages.text("/execution?id=a")

    assert pages.done("/execution/continue", {"id": "a"}) == "Continued. Its task is offered to the workers."
    assert task_state(pages, "a") == "pending"
    assert pages.refused("/execution/continue", {"id": "a"})[0] == 409


def test_execution_is_cancelled_and_then_forced(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    said = pages.done("/execution/cancel", {"id": "a", "reason": "changed plans"})
    assert said.startswith("Cancelled. Its workflow gets an error where it waits")
    assert "Cancellation requested: changed plans" in pages.text("/execution?id=a")
    assert pages.done("/execution/cancel", {"id": "a"}).startswith("It was cancelled before")
    assert pages.done("/execution/cancel", {"id": "a", "force": "true"}) == "The execution has ended."
    assert present(pages.store.apply(PromiseGet("a")).promise).state == "rejected_canceled"


def test_pause_before_the_next_attempt_is_ended(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.try_step("a.1", "charge", MONDAY)
    shop.retry("a.1", 1, MONDAY + 10, LATER, raised(ValueError("no")))
    shop.suspend("a", "a.1~1")
    assert "Retry now" in pages.text("/execution?id=a")
    assert pages.done("/execution/retry", {"id": "a"}) == "The next attempt begins now."
    assert not present(pages.store.apply(PromiseGet("a.1~1")).promise).pending
    assert pages.done("/execution/retry", {"id": "a"}) == "Nothing of it waits for an attempt."


def test_execution_that_has_ended_is_deleted(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.step("a.1", "f", MONDAY, 1)
    assert pages.refused("/execution/delete", {"id": "a"})[0] == 409
    shop.end("a", MONDAY + 2)
    assert pages.done("/execution/delete", {"id": "a"}) == "Deleted a, 2 records."
    assert pages.store.apply(PromiseGet("a")).status == 404
    assert pages.get("/execution?id=a", 404)


def test_message_is_sent_once_for_each_key(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    message = {"id": "a", "name": "note", "value": '{"n": 1}', "key": "k"}
    assert pages.done("/execution/send", message) == "The message note is accepted."
    pages.done("/execution/send", message)
    assert pages.text("/execution?id=a&view=messages").count('{"n": 1}') == 1
    assert pages.refused("/execution/send", {**message, "value": "2"})[0] == 409


@pytest.mark.parametrize(
    ("path", "fields", "status", "problem"),
    [
        ("/execution/halt", {"id": "nothing"}, 404, "There is no task 'nothing'"),
        ("/execution/halt", {}, 400, "The form names no execution"),
        ("/execution/send", {"id": "a"}, 400, "Give the name of the message"),
        ("/execution/send", {"id": "a", "name": "n", "value": "{"}, 400, "The value is no JSON: '{'"),
        ("/execution/send", {"id": "nothing", "name": "n"}, 404, "The message is not accepted"),
    ],
)
def test_refused_action_says_why(
    pages: Pages, shop: Shop, path: str, fields: dict[str, str], status: int, problem: str
) -> None:
    shop.begin("a", MONDAY)
    given, said = pages.refused(path, fields)
    assert given == status
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("end", "shown", "hidden"),
    [(False, ("Halt", "Cancel"), ("Delete", "Retry now", "Continue")), (True, ("Delete",), ("Halt", "Cancel"))],
)
def test_page_has_no_button_without_effect(
    pages: Pages, shop: Shop, end: bool, shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    shop.begin("a", MONDAY)
    if end:
        shop.end("a", MONDAY + 1)
    text = pages.text("/execution?id=a").partition("Function")[0]
    assert [word for word in shown if word not in text] == []
    assert [word for word in hidden if word in text] == []


def test_failed_execution_is_redriven_and_forked(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY, amount=3)
    shop.step("a.1", "reserve", MONDAY, 1)
    shop.step("a.2", "charge", MONDAY, 1, error=(error := raised(ValueError("no"))))
    shop.end("a", MONDAY + 5, error=error)
    assert "Redrive" in pages.text("/execution?id=a")
    assert "Fork from here" in pages.get("/promise?id=a.1&part=panel")

    response = pages.post("/execution/redrive", {"id": "a"})
    assert response.headers["location"].startswith("/console/execution?")
    text = text_of(pages.client.request("GET", response.headers["location"]).text)
    assert "It runs a again from command 2; 1 records were copied." in text
    assert "Fork of a from command 2" in text
    assert present(pages.store.apply(PromiseGet("a@1.1")).promise).state == "resolved"

    said = pages.done("/execution/fork", {"id": "a", "from": "1", "new_id": "again"})
    assert said == "It runs a again from command 1; 0 records were copied."
    assert task_state(pages, "again") == "pending"
    status, problem = pages.refused("/execution/fork", {"id": "a", "from": "x"})
    assert (status, "'x'" in problem) == (400, True)
