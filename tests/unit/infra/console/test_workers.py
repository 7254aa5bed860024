"""Workers on the console."""

from __future__ import annotations

from resonate_infra.console.views.workers import groups_of
from resonate_store.protocol.workers import WorkerView
from tests.support.console_demo import MONDAY, Shop
from tests.support.console_pages import Pages, rows_in


def test_workers_are_shown_with_their_functions(filled: Pages) -> None:
    text = filled.text("/workers")
    assert "shop 1 connection order Reserve, charge and ship an order. (versions 1, 2)" in text
    assert "mail https://mail.example it does not tell its functions" in text


def test_tasks_without_a_worker_are_shown(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.call("a.1", MONDAY, "count", target="warehouse")
    assert rows_in(pages.get("/workers")) == [
        ["a.1", "warehouse", "waiting for a worker of warehouse; none is connected", "09:00:00"]
    ]
    shop.settle("a.1", MONDAY + 1)
    assert rows_in(pages.get("/workers")) == []


def test_processes_of_a_group_are_one_group() -> None:
    f, g = {"name": "f", "doc": "one"}, {"name": "g"}
    group, other = groups_of(
        [
            WorkerView("b", "p1", functions=[g]),
            WorkerView("b", "p2", functions=[{"name": "f", "doc": "other"}, f]),
            WorkerView("a", address="lambda://a"),
        ]
    )[::-1]
    assert (group.name, group.processes, list(group.functions)) == ("b", ["p1", "p2"], ["f", "g"])
    assert group.functions["f"]["doc"] == "other"
    assert (other.addresses, other.described) == (["lambda://a"], False)
