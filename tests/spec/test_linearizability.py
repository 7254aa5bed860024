"""The checker of histories, on histories made by hand: what cannot have happened is refused."""

from __future__ import annotations

from typing import Any

from resonate_infra.conformance.runner import START
from tests.support.linearizability import Operation, linearization

LATER = START + 60_000


def promise(state: str = "pending", value: str | None = None, param: str | None = None) -> dict[str, Any]:
    shown = {
        "id": "a",
        "state": state,
        "param": {} if param is None else {"data": param},
        "value": {} if value is None else {"data": value},
        "tags": {},
        "timeoutAt": LATER,
        "createdAt": START,
    }
    return {"promise": shown if state == "pending" else {**shown, "settledAt": START}}


def create(called: int, returned: int, answer: Any, param: str | None = None) -> Operation:
    data = {"id": "a", "timeoutAt": LATER, "param": {} if param is None else {"data": param}}
    return Operation(called, returned, "promise.create", data, 200, answer)


def settle(called: int, returned: int, value: str, answer: Any) -> Operation:
    data = {"id": "a", "state": "resolved", "value": {"data": value}}
    return Operation(called, returned, "promise.settle", data, 200, answer)


def get(called: int, returned: int, answer: Any, status: int = 200) -> Operation:
    return Operation(called, returned, "promise.get", {"id": "a"}, status, answer)


CREATED = create(0, 1, promise())
GONE = "Promise not found"


def held(called: int, returned: int, pid: str, version: int = 1) -> Operation:
    task = {"id": "a", "state": "acquired", "version": version, "resumes": 0, "ttl": 1000, "pid": pid}
    shown = {**promise()["promise"], "tags": {"resonate:target": "poll://any@w"}}
    data = {"id": "a", "version": version - 1, "pid": pid, "ttl": 1000}
    return Operation(called, returned, "task.acquire", data, 200, {"task": task, "promise": shown})


def refused(called: int, returned: int, pid: str) -> Operation:
    data = {"id": "a", "version": 0, "pid": pid, "ttl": 1000}
    return Operation(called, returned, "task.acquire", data, 409, "Task is not pending")


TARGETED = Operation(
    0,
    1,
    "promise.create",
    {"id": "a", "timeoutAt": LATER, "tags": {"resonate:target": "poll://any@w"}},
    200,
    {"promise": {**promise()["promise"], "tags": {"resonate:target": "poll://any@w"}}},
)


def test_what_happened_one_after_the_other_is_accepted() -> None:
    settled = promise("resolved", "1")
    history = [CREATED, settle(2, 3, "1", settled), get(4, 5, settled), settle(6, 7, "2", settled)]

    assert linearization(history) == history


def test_what_overlapped_is_put_in_an_order() -> None:
    settled = promise("resolved", "2")
    loser, winner = settle(2, 9, "1", settled), settle(3, 8, "2", settled)
    early = get(2, 9, promise())

    assert linearization([CREATED, loser, winner, early]) == [CREATED, early, winner, loser]


def test_an_operation_may_take_effect_before_or_after_another_that_overlaps_it() -> None:
    settled = promise("resolved", "1")

    for seen in (promise(), settled):
        assert linearization([CREATED, settle(2, 10, "1", settled), get(3, 4, seen)]) is not None


def test_nothing_is_linearizable() -> None:
    assert linearization([]) == []


def test_two_winners_of_a_settlement_are_refused() -> None:
    history = [CREATED, settle(2, 9, "1", promise("resolved", "1")), settle(2, 9, "2", promise("resolved", "2"))]

    assert linearization(history) is None


def test_two_winners_of_a_creation_are_refused() -> None:
    assert linearization([create(0, 9, promise(param="1"), "1"), create(0, 9, promise(param="2"), "2")]) is None
    assert linearization([create(0, 9, promise(param="1"), "1"), create(0, 9, promise(param="1"), "2")]) is not None


def test_two_holders_of_a_task_are_refused() -> None:
    assert linearization([TARGETED, held(2, 9, "p"), held(2, 9, "q")]) is None
    assert linearization([TARGETED, held(2, 9, "p"), refused(2, 9, "q")]) is not None


def test_a_task_that_nobody_got_is_refused() -> None:
    assert linearization([TARGETED, refused(2, 9, "p"), refused(2, 9, "q")]) is None


def test_an_update_that_was_acknowledged_and_lost_is_refused() -> None:
    assert linearization([CREATED, settle(2, 3, "1", promise("resolved", "1")), get(4, 5, promise())]) is None


def test_a_read_of_what_was_never_written_is_refused() -> None:
    assert linearization([CREATED, get(2, 3, promise("resolved", "1"))]) is None
    assert (
        linearization([CREATED, settle(2, 9, "1", promise("resolved", "1")), get(2, 9, promise("resolved", "2"))])
        is None
    )


def test_a_read_of_what_is_written_only_later_is_refused() -> None:
    settled = promise("resolved", "1")

    assert linearization([CREATED, get(2, 3, settled), settle(4, 5, "1", settled)]) is None


def test_reads_that_go_back_in_time_are_refused() -> None:
    settled = promise("resolved", "1")
    slow = settle(2, 20, "1", settled)

    assert linearization([CREATED, slow, get(3, 4, promise()), get(5, 6, settled)]) is not None
    assert linearization([CREATED, slow, get(3, 4, settled), get(5, 6, promise())]) is None


def test_a_promise_that_was_created_and_is_gone_is_refused() -> None:
    assert linearization([CREATED, get(2, 3, GONE, 404)]) is None
    assert linearization([get(0, 1, GONE, 404), create(0, 1, promise())]) is not None


def test_the_order_of_operations_that_did_not_overlap_is_kept() -> None:
    settled = promise("resolved", "2")

    # The first had returned before the second was called, and yet the second's value was stored.
    assert linearization([CREATED, settle(2, 3, "1", settled), settle(4, 5, "2", settled)]) is None
    assert linearization([CREATED, settle(2, 4, "1", settled), settle(3, 5, "2", settled)]) is not None
