"""What the console shows: a server, or a table."""

from __future__ import annotations

from typing import Any

from resonate_infra.console.backend import KEPT_MS, ConsoleSession, TableBackend
from resonate_store.protocol.workers import WorkerView
from tests.support.console_demo import FUNCTIONS
from tests.support.console_pages import Pages
from tests.support.present import present


def described(address: str) -> list[dict[str, Any]] | str:
    return FUNCTIONS if address == "lambda://shop-function" else "AccessDenied"


def test_table_has_the_groups_of_the_settings(pages: Pages) -> None:
    groups = {"shop": "lambda://shop-function", "mail": "https://mail.example", "other": "lambda://other"}
    backend = TableBackend(ConsoleSession(pages.store, pages.clock), "Promises: t", groups, described)

    found = backend.workers(None)
    assert [(each.group, each.address, each.functions is not None) for each in found or ()] == [
        ("mail", "https://mail.example", False),
        ("other", "lambda://other", False),
        ("shop", "lambda://shop-function", True),
    ]
    assert [backend.missing(groups[group]) for group in ("mail", "other", "shop")] == [
        "only Lambda functions can be asked what they serve",
        "AccessDenied",
        "",
    ]
    assert (backend.moves_time(None), backend.advance(None, 1), backend.takes("execution.delete", None)) == (
        *(False, False, True),
    )


def test_functions_are_asked_again_after_five_minutes(pages: Pages) -> None:
    asked: list[str] = []

    def describe(address: str) -> list[dict[str, Any]] | str:
        asked.append(address)
        return FUNCTIONS if len(asked) > 1 else "the function is too slow"

    backend = TableBackend(ConsoleSession(pages.store, pages.clock), "t", {"shop": "lambda://shop"}, describe)
    assert present(backend.workers(None))[0].functions is None
    pages.clock.advance(KEPT_MS - 1)
    assert backend.missing("lambda://shop") == "the function is too slow"
    pages.clock.advance(1)
    assert present(backend.workers(None))[0].functions == FUNCTIONS
    assert asked == ["lambda://shop"] * 2


def test_console_asks_the_functions_that_a_server_only_names() -> None:
    workers = [WorkerView("shop", address="lambda://shop-function"), WorkerView("b", "w1", functions=[])]
    pages = Pages(workers=[*workers, WorkerView("c", address="lambda://other")], describe=described)
    text = pages.text("/workers")
    assert "order Reserve, charge and ship an order." in text
    assert "b 1 connection it serves no functions" in text
    assert "c lambda://other AccessDenied" in text
    assert "Reserve, charge" in pages.text("/start")
