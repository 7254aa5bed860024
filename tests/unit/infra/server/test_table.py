"""Table as the store of one process."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resonate_infra.server.table import TableStore
from resonate_store.interface import StoreClosed
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    Response,
    TaskAcquire,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleDelete
from resonate_store.model.tags import TARGET, TIMER
from tests.support.dynamo import Table, Wire, refusing
from tests.support.present import present

HOUR = 3_600_000
SWEEP = 60_000


class Scene:
    def __init__(self, table: Table) -> None:
        self.clock = ManualClock()
        self.table = table
        self.sent: list[tuple[str, str]] = []
        self.store = TableStore(table.store(self.clock), SWEEP, retention_s=86_400)
        self.store.subscribe(send=self._note)
        self.woken_at: list[int] = []
        self.store.subscribe(on_wake=self.woken_at.append)

    def _note(self, address: str, message: dict[str, Any]) -> None:
        data = message["data"]
        self.sent.append((address, (data.get("task") or data["promise"])["id"]))

    def taken(self) -> list[tuple[str, str]]:
        sent, self.sent = self.sent, []
        return sent

    def create(self, id: str, target: str | None = None, after: int = HOUR, **tags: str) -> Response:
        tags = tags | ({TARGET: target} if target else {})
        response = self.store.apply(PromiseCreate(id, self.clock.now() + after, tags=tags))
        assert response.ok, response.error
        return response

    def suspended(self) -> None:
        """Suspend the task `w` on the promise `x`."""
        self.create("w", "poll://any@g")
        assert self.store.apply(TaskAcquire("w", 0, "p", HOUR)).ok
        self.create("x")
        assert self.store.apply(TaskSuspend("w", 1, ("x",))).ok

    def advance(self, milliseconds: int) -> None:
        """Advance the clock, and tick the store at each instant that is due."""
        end = self.clock.now() + milliseconds
        while (at := self.store.next_wake_at()) <= end:
            self.clock.advance_to(at)
            self.store.tick()
        self.clock.advance_to(end)


@pytest.fixture
def scene(table: Table) -> Scene:
    return Scene(table)


def test_table_store_delivers_effects_without_the_stream(scene: Scene) -> None:
    scene.suspended()
    assert scene.store.apply(PromiseRegisterListener("x", "poll://uni@c/1")).ok
    assert scene.taken() == [("poll://any@g", "w")]
    assert scene.store.apply(PromiseSettle("x", "resolved")).ok

    assert scene.taken() == [("poll://any@g", "w"), ("poll://uni@c/1", "x")]
    assert not any("effects" in item for item in scene.table.items())
    assert [item["sk"]["S"] for item in scene.table.items() if "expire_at" in item] == ["expiry#x"]
    assert present(scene.store.record("x")).delivered


def test_table_store_settles_timers_on_time(scene: Scene) -> None:
    scene.store.tick()
    scene.create("t", after=1_500, **{TIMER: "true"})
    assert scene.woken_at == [scene.clock.now() + 1_500]
    assert scene.store.next_wake_at() == scene.clock.now() + 1_500
    scene.store.apply(PromiseRegisterListener("t", "poll://uni@c/1"))
    scene.advance(1_499)
    assert scene.taken() == []
    scene.advance(1)

    assert scene.taken() == [("poll://uni@c/1", "t")]


def test_table_store_fires_schedules_until_they_are_deleted(scene: Scene) -> None:
    creation = ScheduleCreate("s", "* * * * *", "s-{{.timestamp}}", HOUR, promise_tags={TARGET: "poll://any@g"})
    assert scene.store.apply(creation).ok
    first = scene.clock.now() // 60_000 * 60_000 + 60_000
    scene.advance(2 * 60_000)
    offered = {f"s-{first}", f"s-{first + 60_000}"}
    assert {id for _, id in scene.taken()} == offered

    assert scene.store.apply(ScheduleDelete("s")).ok
    scene.advance(2 * 60_000)
    assert {id for _, id in scene.taken()} <= offered  # Only these are offered again.


def test_sweep_offers_tasks_of_another_writer(scene: Scene) -> None:
    other = scene.table.store(scene.clock)
    assert other.apply(PromiseCreate("w", scene.clock.now() + HOUR, tags={TARGET: "poll://any@g"})).ok
    assert scene.store.due(scene.clock.now() + HOUR) == [("promise", "w")]
    scene.advance(SWEEP)

    assert scene.taken() == [("poll://any@g", "w")]


def test_sweep_releases_a_task_whose_lease_ended(scene: Scene) -> None:
    scene.create("w", "poll://any@g")
    assert scene.store.apply(TaskAcquire("w", 0, "p", 1_000)).ok
    scene.taken()
    scene.advance(2 * SWEEP)

    assert scene.taken()[0] == ("poll://any@g", "w")
    task = present(present(scene.store.record("w")).task)
    assert (task.state, task.version) == ("pending", 1)


def test_sweep_that_wakes_nothing_is_logged_as_debug(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "resonate.tick")
    scene.advance(SWEEP)
    assert {record.levelname for record in caplog.records if record.name == "resonate.tick"} == {"DEBUG"}
    caplog.clear()
    scene.create("w", "poll://any@g")
    assert scene.store.apply(TaskAcquire("w", 0, "p", 1_000)).ok
    scene.advance(2 * SWEEP)

    assert "INFO" in {record.levelname for record in caplog.records if record.name == "resonate.tick"}


def test_failed_effect_is_left_to_the_sweep(scene: Scene, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    scene.suspended()
    scene.taken()
    # The settlement itself succeeds. The requests of its effects fail.
    wire.faults.extend([None, *[refusing("InternalServerError", 500)] * 10])
    assert scene.store.apply(PromiseSettle("x", "resolved")).ok
    assert "an effect failed and is left to the sweep" in caplog.text
    assert scene.taken() == []
    wire.faults.clear()
    scene.advance(3 * SWEEP)

    assert ("poll://any@g", "w") in scene.taken()


def test_closed_table_store_refuses_requests(scene: Scene) -> None:
    assert scene.store.open() is scene.store
    assert list(scene.store.children("w")) == []
    scene.store.close()
    with pytest.raises(StoreClosed):
        scene.store.apply(PromiseGet("w"))
