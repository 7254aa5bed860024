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
"""The events are those of a workflow that began at midnight, at the beginning of the year 2025."""

Load = Callable[[str], Any]


@pytest.fixture
def event() -> Load:
    """Reads an event of `events/`."""
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
    """The stack as if it were new, at midnight; its functions are cold."""
    clock.set(NIGHT)
    deployed.clear()
    deployed.processes.forget_all()
    return deployed


@pytest.fixture
def begun(stack: OfflineStack) -> OfflineStack:
    """The workflow of the events is created, and its task not yet offered."""
    client = stack.client().options(target="worker")
    client.begin_rpc("sleep-workflow-1", "sleeping_workflow", wf_id="sleep-workflow-1", secs=5.0)
    client.stop()
    return stack


@pytest.fixture
def asleep(begun: OfflineStack) -> OfflineStack:
    """The workflow of the events is suspended on its sleep, which is over."""
    begun.pump()
    begun.clock.sleep(5000)
    begun.reset_counts()
    return begun


def ask(stack: OfflineStack, kind: str, data: Any, *, signed: bool = True, **head: Any) -> Answer:
    response = stack.api(envelope(kind, data, **head), signed=signed)
    assert response.headers["Content-Type"] == "application/json"
    return read((response.status, response.body))
