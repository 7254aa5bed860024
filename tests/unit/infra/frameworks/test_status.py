"""Status of executions, as web applications show it."""

from __future__ import annotations

import threading

import pytest

from resonate import Resonate
from resonate_infra.frameworks.status import status_of
from tests.unit.infra.frameworks.shop import order


def waiting(resonate: Resonate, id: str, item: str) -> None:
    """Start an order, and wait until it waits for its approval."""
    resonate.begin_run(id, order, item)
    while (status_of(resonate, id) or {})["status"] != "waiting":
        resonate.get(id).done()


def test_status_shows_progress_result_and_error(resonate: Resonate, subtests: pytest.Subtests) -> None:
    for item, outcome in (("tea", {"result": {"sent": "tea"}}), ("nothing", {"error": "nothing is sold out"})):
        with subtests.test(item=item):
            id = f"order/{item}"
            waiting(resonate, id, item)
            pending = status_of(resonate, id)
            assert pending is not None
            assert pending == {
                "id": id,
                "function": "order",
                "state": "pending",
                "status": "waiting",
                "created_at": pending["created_at"],
                "published": {"progress": 40},
            }

            resonate.promises.resolve(id=f"approval-{item}")
            ended = status_of(resonate, id, wait_s=10)
            assert ended is not None
            state = "resolved" if item == "tea" else "rejected"
            assert ended == {
                **pending,
                "state": state,
                "status": state,
                "settled_at": ended["settled_at"],
                **{name: ended[name] for name in outcome},
            }
            assert str(outcome.popitem()[1]) in str(ended)


def test_status_waits_until_the_end(resonate: Resonate) -> None:
    waiting(resonate, "order", "tea")
    asked = threading.Event()

    def approve() -> None:
        asked.wait(10)
        resonate.promises.resolve(id="approval-tea")

    approver = threading.Thread(target=approve)
    approver.start()
    assert (status_of(resonate, "order", wait_s=0.05) or {})["state"] == "pending"
    asked.set()
    assert (status_of(resonate, "order", wait_s=10) or {})["state"] == "resolved"
    approver.join()


def test_status_of_what_may_not_be_shown_is_none(resonate: Resonate, subtests: pytest.Subtests) -> None:
    resonate.run("secret", "secret")
    waiting(resonate, "order", "tea")

    for id in ("missing", "order.1", "approval-tea", "secret", "", "x" * 2_000):
        with subtests.test(id=id[:20]):
            assert status_of(resonate, id, functions=["order"]) is None
    assert (status_of(resonate, "secret") or {})["result"] == "secret"
