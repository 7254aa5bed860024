"""36 clients that race for the same ids. Their answers must be possible in some order, one after the other."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.conformance.__main__ import over_http
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.machine.effects import Change
from resonate_store.model.records import Record
from tests.support.dynamo import Wire
from tests.support.hypothesis_settings import examples
from tests.support.linearizability import Operation, linearization
from tests.support.races import CLIENTS, LOOKS, SCENARIOS, race, resumptions, suspensions
from tests.support.server_api import Api
from tests.support.services import service_over, service_over_a_table

ROUNDS = examples(3, in_ci=5)
DYNAMO_ROUNDS = examples(1, in_ci=2)
SEEDS = 20
"""Races after which threads that have never met are taken to run one after the other."""


def assert_orderly(histories: dict[str, list[Operation]], rounds: int) -> None:
    assert len(histories) == rounds * len(SCENARIOS)
    for id, history in histories.items():
        assert_one_winner(history)
        assert linearization(history) is not None, f"{id}:\n" + "\n".join(map(str, history))


def assert_one_winner(history: list[Operation]) -> None:
    """Assert that no version of a task is acquired twice, and that all see one outcome of a promise."""
    held = Counter(
        operation.answer["task"]["version"]
        for operation in history
        if operation.kind in ("task.acquire", "task.create")
        and operation.status == 200
        and operation.answer["task"]["state"] == "acquired"
    )
    outcomes: dict[str, set[str]] = {}
    for promise in filter(None, map(promise_in, history)):
        if promise["state"] != "pending":
            outcomes.setdefault(promise["id"], set()).add(json.dumps(promise, sort_keys=True))

    assert all(times == 1 for times in held.values()), held
    assert all(len(seen) == 1 for seen in outcomes.values()), outcomes


def promise_in(operation: Operation) -> Any:
    match operation.answer:
        case {"promise": promise} | {"action": {"data": {"promise": promise}}}:
            return promise
        case _:
            return None


def statuses(histories: dict[str, list[Operation]], kind: str) -> set[int]:
    return {each.status for history in histories.values() for each in history if each.kind == kind}


@contextmanager
def serving(**options: Any) -> Iterator[str]:
    with Server(ServerOptions(port=0, debug=True, **options)).running() as server:
        url = f"http://localhost:{server.port}"
        Api(url).ask("debug.start")
        yield url


@pytest.mark.parametrize("file", [None, "promises.db"], ids=["memory", "file"])
def test_clients_race_over_http(file: str | None, tmp_path: Path) -> None:
    with serving(data=None if file is None else str(tmp_path / file)) as url:
        histories = race(lambda: over_http(url), ROUNDS)

    assert_orderly(histories, ROUNDS)
    assert overlaps(histories) >= len(histories)
    assert statuses(histories, "task.acquire") == {200, 409}


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns so often that they meet within a request."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("store", ["memory", "sqlite", "file"])
def test_threads_race_without_http(store: str, tmp_path: Path) -> None:
    path = str(tmp_path / "promises.db") if store == "file" else ":memory:"
    stores: list[Any] = []

    def make(clock: Any) -> Any:
        stores.append(MemoryStore(clock) if store == "memory" else SqliteStore(path, clock))
        return stores[0]

    service = service_over(make)
    for seed in range(SEEDS):
        histories = race(lambda: service.answer, ROUNDS, seed, prefix=f"s{seed}-")
        assert_orderly(histories, ROUNDS)
        if overlaps(histories):
            break
    else:
        pytest.fail(f"no two requests met in {SEEDS} races")
    stores[0].close()


@pytest.mark.usefixtures("restless")
def test_threads_race_over_dynamodb(dynamo: Any) -> None:
    """Each request to DynamoDB is atomic. Between two requests of one client, requests of another can take effect.

    A settlement and the resumes that follow it are two writes. A client may see the first without the second. So the
    order that explains the answers need not be that of the clock.
    """
    with Wire().tapping(dynamo) as wire, service_over_a_table(dynamo) as service:
        histories = race(lambda: service.answer, DYNAMO_ROUNDS)

    assert overlaps(histories) >= len(histories)
    assert "TransactWriteItems" in wire.sent
    assert statuses(histories, "task.acquire") == {200, 409}
    for scenario in (suspensions, resumptions):
        for number in range(DYNAMO_ROUNDS):
            id = f"{scenario.__name__}-{number}"
            setup, _ = scenario(id)
            histories[id] = at_one_time(histories[id], len(setup))
    assert_orderly(histories, DYNAMO_ROUNDS)


def at_one_time(history: list[Operation], setup: int) -> list[Operation]:
    """The history as if all that raced had taken as long as the race."""
    before, raced, after = history[:setup], history[setup:-LOOKS], history[-LOOKS:]
    called, returned = min(each.called for each in raced), max(each.returned for each in raced)
    return [*before, *(each._replace(called=called, returned=returned) for each in raced), *after]


def overlaps(histories: dict[str, list[Operation]]) -> int:
    """How often one request was called while another of its group was under way."""
    return sum(
        one.called < other.called < one.returned
        for history in histories.values()
        for one, other in permutations(history, 2)
    )


class Wrong(MemoryStore):
    """Acknowledges some of what it is asked to do, and does not keep it."""

    def _keep(self, change: Change) -> None:
        before, after = change
        if not (isinstance(before, Record) and isinstance(after, Record) and self.forgets(before, after)):
            super()._keep(change)

    def forgets(self, before: Record, after: Record) -> bool:
        raise NotImplementedError


class Forgetful(Wrong):
    """Forgets the first settlement of every promise."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self._forgotten: set[str] = set()

    def forgets(self, before: Record, after: Record) -> bool:
        if not before.pending or after.pending or after.id in self._forgotten:
            return False
        self._forgotten.add(after.id)
        return True


class Generous(Wrong):
    """Forgets that a task is held, so that it can be acquired again."""

    def forgets(self, before: Record, after: Record) -> bool:
        states = [record.task.state for record in (before, after) if record.task is not None]
        return states == ["pending", "acquired"]


@pytest.mark.parametrize("store", [Forgetful, Generous])
def test_wrong_store_has_no_linearization(store: type[MemoryStore]) -> None:
    service = service_over(store)
    histories = race(lambda: service.answer, 2)

    assert any(linearization(history) is None for history in histories.values())


def test_scenarios_have_two_requests_for_each_client() -> None:
    asks = sum(len(scenario("a")[1]) for scenario in SCENARIOS)

    assert asks == 2 * CLIENTS
    assert all(len(scenario("a")[0]) + len(scenario("a")[1]) <= 12 for scenario in SCENARIOS)
