"""What the console shows: a server, or a table."""

from __future__ import annotations

from typing import Any

from resonate_infra.console.backend import ConsoleSession, TableBackend
from tests.support.console_demo import FUNCTIONS
from tests.support.console_pages import Pages


def described(address: str) -> list[dict[str, Any]] | None:
    return FUNCTIONS if address == "lambda://shop-function" else None


def test_table_has_the_groups_of_the_settings(pages: Pages) -> None:
    groups = {"shop": "lambda://shop-function", "mail": "https://mail.example", "other": "lambda://other"}
    backend = TableBackend(ConsoleSession(pages.store, pages.clock), "Promises: t", groups, described)

    found = backend.workers(None)
    assert [(each.group, each.address, each.functions is not None) for each in found or ()] == [
        ("mail", "https://mail.example", False),
        ("other", "lambda://other", False),
        ("shop", "lambda://shop-function", True),
    ]
    assert (backend.moves_time(None), backend.advance(None, 1), backend.takes("execution.delete", None)) == (
        *(False, False, True),
    )
