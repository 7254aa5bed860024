"""The checker of histories, on histories that are written by hand."""

from __future__ import annotations

from typing import Any

import pytest

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


SETTLED_1, SETTLED_2 = promise("resolved", "1"), promise("resolved", "2")

CANCELLED = {**TARGETED.answer, "cancel": "accepted"}
AGAIN = {**TARGETED.answer, "cancel": "already"}
HELD = held(2, 3, "p")


def cancel(called: int, returned: int, answer: Any, reason: str = "") -> Operation:
    return Operation(called, returned, "promise.cancel", {"id": "a", "reason": reason}, 200, answer)


def task(called: int, returned: int, reason: str | None) -> Operation:
    """A read of the task of the first holder."""
    shown = {**HELD.answer["task"], **({} if reason is None else {"cancel": reason})}
    return Operation(called, returned, "task.get", {"id": "a"}, 200, {"task": shown})


POSSIBLE = {
    "no operation": [],
    "one after the other": [CREATED, settle(2, 3, "1", SETTLED_1), get(4, 5, SETTLED_1), settle(6, 7, "2", SETTLED_1)],
    "a read before an overlapping write": [CREATED, settle(2, 10, "1", SETTLED_1), get(3, 4, promise())],
    "a read after an overlapping write": [CREATED, settle(2, 10, "1", SETTLED_1), get(3, 4, SETTLED_1)],
    "one creation": [create(0, 9, promise(param="1"), "1"), create(0, 9, promise(param="1"), "2")],
    "one holder": [TARGETED, held(2, 9, "p"), refused(2, 9, "q")],
    "one accepted cancellation": [
        *(TARGETED, HELD, cancel(4, 9, CANCELLED, "b"), cancel(4, 9, AGAIN, "c")),
        *(task(4, 5, None), task(10, 11, "b")),
    ],
    "reads in the order of a slow write": [
        CREATED,
        settle(2, 20, "1", SETTLED_1),
        get(3, 4, promise()),
        get(5, 6, SETTLED_1),
    ],
    "a read before an overlapping creation": [get(0, 1, GONE, 404), create(0, 1, promise())],
    "the second of two overlapping settlements": [CREATED, settle(2, 4, "1", SETTLED_2), settle(3, 5, "2", SETTLED_2)],
}
IMPOSSIBLE = {
    "two settlements": [CREATED, settle(2, 9, "1", SETTLED_1), settle(2, 9, "2", SETTLED_2)],
    "two creations": [create(0, 9, promise(param="1"), "1"), create(0, 9, promise(param="2"), "2")],
    "two accepted cancellations": [TARGETED, HELD, cancel(4, 9, CANCELLED), cancel(4, 9, CANCELLED)],
    "no accepted cancellation": [TARGETED, HELD, cancel(4, 9, AGAIN), cancel(4, 9, AGAIN)],
    "a lost cancellation": [TARGETED, HELD, cancel(4, 5, CANCELLED), task(6, 7, None)],
    "the reason of a later cancellation": [
        *(TARGETED, HELD, cancel(4, 5, CANCELLED, "b"), cancel(6, 7, AGAIN, "c"), task(8, 9, "c"))
    ],
    "two holders": [TARGETED, held(2, 9, "p"), held(2, 9, "q")],
    "no holder": [TARGETED, refused(2, 9, "p"), refused(2, 9, "q")],
    "a lost settlement": [CREATED, settle(2, 3, "1", SETTLED_1), get(4, 5, promise())],
    "a read of what is not written": [CREATED, get(2, 3, SETTLED_1)],
    "a read of another value": [CREATED, settle(2, 9, "1", SETTLED_1), get(2, 9, SETTLED_2)],
    "a read of a later settlement": [CREATED, get(2, 3, SETTLED_1), settle(4, 5, "1", SETTLED_1)],
    "reads back in time": [CREATED, settle(2, 20, "1", SETTLED_1), get(3, 4, SETTLED_1), get(5, 6, promise())],
    "a lost promise": [CREATED, get(2, 3, GONE, 404)],
    "the second of two settlements in order": [CREATED, settle(2, 3, "1", SETTLED_2), settle(4, 5, "2", SETTLED_2)],
}


def test_linearization_of_a_possible_history_is_found(subtests: pytest.Subtests) -> None:
    for name, history in POSSIBLE.items():
        with subtests.test(name):
            found = linearization(history)
            assert found is not None
            assert sorted(found, key=repr) == sorted(history, key=repr)


def test_linearization_orders_operations_that_overlapped() -> None:
    assert linearization(POSSIBLE["one after the other"]) == POSSIBLE["one after the other"]

    loser, winner, early = settle(2, 9, "1", SETTLED_2), settle(3, 8, "2", SETTLED_2), get(2, 9, promise())

    assert linearization([CREATED, loser, winner, early]) == [CREATED, early, winner, loser]


def test_linearization_of_an_impossible_history_is_none(subtests: pytest.Subtests) -> None:
    for name, history in IMPOSSIBLE.items():
        with subtests.test(name):
            assert linearization(history) is None
