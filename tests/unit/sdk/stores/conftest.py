"""The low-level store of SDK 0.6.7, in memory and as the client of a server."""

from __future__ import annotations

from typing import Any

import pytest

from resonate.message_sources import LocalMessageSource
from resonate.stores import LocalStore, RemoteStore
from resonate_store.model.clock import ManualClock
from tests.support.wire import URL, posted_to


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def kept(clock: ManualClock) -> LocalStore:
    """The store with the records."""
    return LocalStore(clock=clock)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, kept: LocalStore) -> Any:
    """The store itself, or the client of a server that has it."""
    if request.param == "local":
        return kept
    remote: Any = RemoteStore(URL, clock=kept.clock, post=posted_to(kept))
    remote.tick = kept.tick
    return remote


@pytest.fixture
def source(kept: LocalStore) -> LocalMessageSource:
    return kept.message_source("workers", "me")
