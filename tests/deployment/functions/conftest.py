import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.support.clocks import SettableClock
from tests.support.envelopes import Answer, envelope, read

EVENTS = Path(__file__).parents[3] / "events"
NIGHT = 1735689600000
"""Instant (ms) at which the workflow of the events began: the first midnight of 2025."""

Load = Callable[[str], Any]


@pytest.fixture
def event() -> Load:
    """Return a function that reads an event of `events/`."""
    return lambda name: json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clock() -> SettableClock:
    return SettableClock(NIGHT)


@pytest.fixture(scope="module")
def deployed(clock: SettableClock) -> Iterator[OfflineStack]:
    with OfflineStack(clock=clock) as stack:
        yield stack


@pytest.fixture
def stack(deployed: OfflineStack, clock: SettableClock) -> OfflineStack:
    """Empty stack at midnight, whose functions are cold."""
    clock.set(NIGHT)
    deployed.clear()
    deployed.processes.forget_all()
    return deployed


@pytest.fixture
def begun(stack: OfflineStack) -> OfflineStack:
    """Stack with the workflow of the events, whose task is not offered yet."""
    client = stack.client().options(target="worker")
    client.begin_rpc("sleep-workflow-1", "sleeping_workflow", wf_id="sleep-workflow-1", secs=5.0)
    client.stop()
    return stack


@pytest.fixture
def asleep(begun: OfflineStack) -> OfflineStack:
    """Stack with the suspended workflow of the events, whose sleep is due."""
    begun.pump()
    begun.clock.sleep(5000)
    begun.reset_counts()
    return begun


def ask(stack: OfflineStack, kind: str, data: Any, *, signed: bool = True, **head: Any) -> Answer:
    response = stack.api(envelope(kind, data, **head), signed=signed)
    assert response.headers["Content-Type"] == "application/json"
    return read((response.status, response.body))
