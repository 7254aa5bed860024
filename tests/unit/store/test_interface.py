"""The delivery of the effects of a write."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from resonate_store.delivery.outlets import Outlets, deliver
from resonate_store.interface import StoreError
from resonate_store.machine.effects import Change, Execute, message_of
from resonate_store.model.requests import PromiseDelivered, Request, Response, TaskResume
from tests.support.images import DISTANT, HOUR, NOW, SCHEDULE, TASKED, TIMER_RECORD, WAITED, WORKERS, settled


class Recorder:
    """Surroundings that note what they are asked for, and answer requests with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.calls: list[tuple[Any, ...]] = []

    def apply(self, request: Request) -> Response:
        self.calls.append(("apply", request))
        return Response(status=self.status, error="busy" if self.status >= 500 else None)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


def test_delivery_of_a_settlement_ends_with_its_mark() -> None:
    before = replace(WAITED, tags={})
    after = settled(before)
    outlets = Recorder()
    deliver(Change(before, after), cast("Outlets", outlets))
    assert outlets.calls == [
        ("apply", TaskResume("w", 2, "root.p")),
        ("apply", TaskResume("v", 0, "root.p")),
        ("retain", "root.p", NOW, NOW + 5),
        ("notify", "poll://uni@g/1", after.promise()),
        ("notify", "https://x/y", after.promise()),
        ("apply", PromiseDelivered("root.p")),
    ]


def test_delivery_of_other_effects_calls_one_outlet(subtests: pytest.Subtests) -> None:
    for change, call in [
        (Change(None, TASKED), ("send", WORKERS, message_of(Execute(WORKERS, "root.p", 3)))),
        (Change(None, TIMER_RECORD), ("arm", "root.p", NOW + HOUR)),
        (Change(DISTANT, None), ("disarm", "root.p")),
        (Change(None, replace(SCHEDULE, written_at=-HOUR)), ("arm_schedule", "s", "* * * * *", None)),
        (Change(SCHEDULE, replace(SCHEDULE, written_at=NOW + 60_000)), ("fire_schedule", "s", NOW + 60_000)),
        (Change(SCHEDULE, None), ("disarm_schedule", "s")),
    ]:
        with subtests.test(change=change, call=call):
            outlets = Recorder()
            deliver(change, cast("Outlets", outlets))
            assert outlets.calls == [call]


def test_delivery_to_a_busy_store_fails_before_its_mark() -> None:
    """A resume that the store could not take must be repeated, so it must not be marked delivered."""
    outlets = Recorder(status=503)
    with pytest.raises(StoreError, match=r"task\.resume of 'w': busy"):
        deliver(Change(WAITED, settled(WAITED)), cast("Outlets", outlets))
    assert outlets.calls == [("apply", TaskResume("w", 2, "root.p"))]


def test_delivery_without_effects_has_no_mark() -> None:
    outlets = Recorder()
    deliver(Change(settled(WAITED), settled(WAITED, wake_at=NOW + 7)), cast("Outlets", outlets))
    assert outlets.calls == []
