"""A worker of a server may be killed before or after any round trip, and any response may be lost, with equal results.

The random workflows of `test_interruption`, whose worker is a client of a server that lies behind a line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from resonate_store.remote.http import Fault, Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import Killed
from tests.support.programs import PROGRAMS, Program
from tests.support.wire import URL, posted_to
from tests.unit.sdk.worker.test_interruption import Machine


class Client(Machine):
    """A machine whose worker reaches the store over the wire, and meets a fault at one round trip.

    Attributes:
        trips: round trips so far.
    """

    def __init__(self, fault: str | None = None, at: int | None = None) -> None:
        super().__init__()
        self.tap.answer = lambda _: None
        self.trips = 0
        self._fault = fault
        self._at = at
        self._server = posted_to(self.store)
        self._begin_process()

    def _begin_process(self) -> None:
        self.tap.store = HttpStore(URL, clock=self.clock, jitter=lambda: 0.0, post=self._post)

    def _post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        self.trips += 1
        fault = self._fault if self.trips == self._at else None
        if fault == "killed before":
            self._begin_process()
            raise Killed
        reply = self._server(body, headers, timeout)
        if fault == "killed after":
            self._begin_process()
            raise Killed
        if fault == "lost":
            raise Fault("connection reset by peer", sent=True)
        return reply


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Every lost response would be told of."""
    logger = logging.getLogger("resonate.store")
    logger.disabled = True
    yield
    logger.disabled = False


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROGRAMS)
def test_no_fault_changes_the_result(program: Program) -> None:
    at_hand: Any = Machine().execute(program)
    undisturbed = Client()
    assert undisturbed.execute(program) == at_hand
    assert undisturbed.repeated == []

    for at in range(1, undisturbed.trips + 1):
        for fault in ("killed before", "killed after", "lost"):
            client = Client(fault, at)
            outcome = client.execute(program)
            note(f"{fault} at round trip {at}: {client.tap.kinds()}")
            assert outcome == at_hand
            assert client.repeated == []
            if fault == "lost":
                assert "released" not in [report.status for report in client.reports if report.error], client.reports
