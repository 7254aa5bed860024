"""Races: many clients, few ids, one instant.

Each scenario says which requests prepare a group of ids and which are then made at the same time by different clients.
What every client saw, and what it all came to afterwards, is the group's history.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resonate_infra.conformance.runner import START, Send
from resonate_store.model.ids import message_id
from tests.support.linearizability import Operation, answer_in, envelope

CLIENTS = 44
LOOKS = 3
"""How many requests look, after a race, at what it came to; they are the last in a history."""
LATER = START + 3_600_000
TARGET = {"resonate:target": "poll://any@nobody"}

Ask = tuple[str, dict[str, Any]]
Scenario = tuple[list[Ask], list[Ask]]
"""What prepares a group, and what is then asked at the same time."""


def _create(id: str, value: object = 0, tags: dict[str, str] | None = None) -> Ask:
    return "promise.create", {"id": id, "timeoutAt": LATER, "param": {"data": f"{value}"}, "tags": tags or {}}


def _settle(id: str, state: str, value: object = 0) -> Ask:
    return "promise.settle", {"id": id, "state": state, "value": {"data": f"{value}"}}


def _hold(id: str, pid: str = "p") -> Ask:
    action = {"kind": "promise.create", "head": {}, "data": _create(id, pid, TARGET)[1]}
    return "task.create", {"pid": pid, "ttl": 60_000, "action": action}


def _acquire(id: str, version: int, pid: str) -> Ask:
    return "task.acquire", {"id": id, "version": version, "pid": pid, "ttl": 60_000}


def _release(id: str, version: int) -> Ask:
    return "task.release", {"id": id, "version": version, "handover": True}


def _fulfill(id: str, version: int, value: object) -> Ask:
    action = {"kind": "promise.settle", "head": {}, "data": _settle(id, "resolved", value)[1]}
    return "task.fulfill", {"id": id, "version": version, "action": action}


def _fence(id: str, version: int, ask: Ask) -> Ask:
    return "task.fence", {"id": id, "version": version, "action": {"kind": ask[0], "head": {}, "data": ask[1]}}


def _suspend(id: str, version: int, *awaited: str) -> Ask:
    actions = [{"kind": "", "head": {}, "data": {"awaited": each, "awaiter": id}} for each in awaited]
    return "task.suspend", {"id": id, "version": version, "actions": actions}


def _continue_as(id: str, version: int, generation: int) -> Ask:
    return "task.continue_as", {"id": id, "version": version, "generation": generation}


def _heartbeat(id: str, version: int, pid: str) -> Ask:
    return "task.heartbeat", {"pid": pid, "tasks": [{"id": id, "version": version}]}


def _callback(awaited: str, awaiter: str) -> Ask:
    return "promise.register_callback", {"awaited": awaited, "awaiter": awaiter}


def _cancel(id: str, reason: str) -> Ask:
    return "promise.cancel", {"id": id, "reason": reason}


def _of(kind: str, id: str) -> Ask:
    return kind, {"id": id}


def creations(id: str) -> Scenario:
    """Everybody creates the same promise, each in another way."""
    creates = [_create(id, n, TARGET if n % 2 else {}) for n in range(5)]
    return [], [*creates, _hold(id, "p"), _hold(id, "q"), _of("promise.get", id)]


def settlements(id: str) -> Scenario:
    """Everybody settles the same promise, each with another value."""
    settles = [_settle(id, state, n) for n, state in enumerate(["resolved", "rejected", "rejected_canceled"] * 2)]
    listener = "promise.register_listener", {"awaited": id, "address": "poll://uni@nobody/1"}
    return [_create(id)], [*settles, listener, _of("promise.get", id)]


def acquisitions(id: str) -> Scenario:
    """Everybody wants the same task."""
    acquires = [_acquire(id, 0, f"p{n}") for n in range(5)]
    return [_create(id, tags=TARGET)], [*acquires, _hold(id, "q"), _of("task.halt", id), _of("task.get", id)]


def fences(id: str) -> Scenario:
    """A task takes steps while it is given up, finished and canceled."""
    child = f"{id}.1"
    return [_hold(id)], [
        _fence(id, 1, _create(child, "a")),
        _fence(id, 1, _create(child, "b")),
        _fence(id, 1, _settle(child, "resolved", "a")),
        _fence(id, 1, _settle(child, "rejected", "b")),
        _fulfill(id, 1, "done"),
        _release(id, 1),
        _acquire(id, 1, "q"),
        _settle(id, "rejected_canceled"),
    ]


def suspensions(id: str) -> Scenario:
    """A task suspends on what is being settled."""
    one, two = f"{id}.1", f"{id}.2"
    return [_hold(id), _create(one), _create(two)], [
        _suspend(id, 1, one, two),
        _suspend(id, 1, one),
        _settle(one, "resolved"),
        _settle(two, "resolved"),
        _callback(two, id),
        _heartbeat(id, 1, "p"),
        _of("task.get", id),
        _acquire(id, 1, "q"),
    ]


def resumptions(id: str) -> Scenario:
    """A suspended task is resumed from several sides, and wanted by several workers."""
    one, two = f"{id}.1", f"{id}.2"
    return [_hold(id), _create(one), _create(two), _suspend(id, 1, one, two)], [
        _settle(one, "resolved", "a"),
        _settle(one, "rejected", "b"),
        _settle(two, "resolved"),
        *[_acquire(id, 1, f"q{n}") for n in range(3)],
        _of("task.get", id),
        _of("task.halt", id),
    ]


def handovers(id: str) -> Scenario:
    """A task is kept, given up, finished and taken at the same time."""
    return [_hold(id)], [
        _heartbeat(id, 1, "p"),
        _heartbeat(id, 2, "q"),
        _release(id, 1),
        _release(id, 1),
        _acquire(id, 1, "q"),
        _acquire(id, 1, "r"),
        _fulfill(id, 1, "p"),
        _fulfill(id, 2, "q or r"),
    ]


def generations(id: str) -> Scenario:
    """A task continues as its next generation while it is given up, taken and finished."""
    return [_hold(id)], [
        _continue_as(id, 1, 2),
        _continue_as(id, 1, 2),
        _continue_as(id, 1, 3),
        _continue_as(id, 2, 2),
        _release(id, 1),
        _acquire(id, 1, "q"),
        _fulfill(id, 2, "done"),
        _of("task.get", id),
    ]


def halts(id: str) -> Scenario:
    """A task is halted, continued and taken at the same time."""
    return [_create(id, tags=TARGET), _of("task.halt", id)], [
        _of("task.continue", id),
        _of("task.continue", id),
        _of("task.halt", id),
        _acquire(id, 0, "p"),
        _acquire(id, 0, "q"),
        _hold(id, "r"),
        _release(id, 1),
        _of("task.get", id),
    ]


def cancellations(id: str) -> Scenario:
    """An execution is cancelled from several sides while it suspends and ends."""
    one = f"{id}.1"
    suspend = _suspend(id, 1, one)
    return [_hold(id), _create(one)], [
        _cancel(id, "a"),
        _cancel(id, "b"),
        (suspend[0], {**suspend[1], "cancelSeen": False}),
        _settle(one, "resolved"),
        _acquire(id, 1, "q"),
        _fulfill(id, 1, "p"),
        _fulfill(id, 2, "q"),
        _of("task.get", id),
    ]


def messages(id: str) -> Scenario:
    """Senders share keys, while the receiver takes, suspends and ends."""

    def send(key: str) -> Ask:
        return "message.send", {"id": id, "name": "m", "key": key, "value": {"data": key}}

    def receive(key: str, place: int) -> Ask:
        data = {"id": id, "version": 1, "message": message_id(id, key), "name": "m", "place": f"{id}.{place}"}
        return "task.receive", data

    suspension = {"id": id, "version": 1, "actions": [], "receives": ["m"], "seen": 2}
    return [_hold(id), send("one")], [
        send("two"),
        send("two"),
        receive("one", 1),
        receive("one", 2),
        receive("two", 2),
        ("task.suspend", suspension),
        _fulfill(id, 1, "done"),
        send("three"),
    ]


SCENARIOS: Sequence[Callable[[str], Scenario]] = (
    creations,
    settlements,
    acquisitions,
    fences,
    suspensions,
    resumptions,
    handovers,
    generations,
    halts,
    cancellations,
    messages,
)


def race(connect: Callable[[], Send], rounds: int, seed: int = 7, prefix: str = "") -> dict[str, list[Operation]]:
    """Have all clients race, `rounds` times for one group of each scenario.

    Args:
        connect: opens a connection to the server for one client.
        rounds: each has groups of its own.
        seed: of who asks what, and in which order.
        prefix: stands before every id, so that several races can be held over one server.

    Returns:
        The history of each group, by the id at its top.
    """
    order = random.Random(seed)
    histories: dict[str, list[Operation]] = {}
    with ThreadPoolExecutor(CLIENTS) as clients:
        sends = list(clients.map(lambda _: connect(), range(CLIENTS)))
        for number in range(rounds):
            groups = {f"{prefix}{scenario.__name__}-{number}": scenario for scenario in SCENARIOS}
            raced: list[tuple[str, Ask]] = []
            for id, scenario in groups.items():
                setup, asks = scenario(id)
                histories[id] = [_asked(sends[0], ask) for ask in setup]
                raced += [(id, ask) for ask in asks]
            order.shuffle(raced)
            start = threading.Barrier(CLIENTS)
            shares = [raced[client::CLIENTS] for client in range(CLIENTS)]
            for seen in clients.map(lambda send, share: _race(send, share, start), sends, shares):  # noqa: B023
                for id, operation in seen:
                    histories[id].append(operation)
            for id in groups:
                looks = _of("promise.get", id), _of("task.get", id), _of("promise.get", f"{id}.1")
                histories[id] += [_asked(sends[0], look) for look in looks]
    return histories


def _race(send: Send, share: list[tuple[str, Ask]], start: threading.Barrier) -> list[tuple[str, Operation]]:
    start.wait(30)
    return [(id, _asked(send, ask)) for id, ask in share]


def _asked(send: Send, ask: Ask) -> Operation:
    kind, data = ask
    body = envelope(kind, data)
    called = time.perf_counter_ns()
    _, answer = send(body)
    returned = time.perf_counter_ns()
    return Operation(called, returned, kind, data, *answer_in(answer))
