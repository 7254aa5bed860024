"""`LocalMessageSource`: messages of a store in this process, read one after the other."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from resonate.message_sources import MessageSource
from resonate.stores import LocalStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from tests.support.low_level import SOON
from tests.support.present import present


@pytest.fixture
def store() -> LocalStore:
    return LocalStore(clock=ManualClock())


def test_source_reads_its_own_messages_while_time_passes(store: LocalStore) -> None:
    clock, source = store.clock, store.message_source("workers", "me")
    assert isinstance(clock, ManualClock)
    assert isinstance(source, MessageSource)
    store.promises.create("a", clock.now() + 1, tags={"resonate:invoke": "others"})
    late = store.promises.create("b", clock.now() + SOON)
    late.subscribe("s", source.unicast)
    clock.advance(SOON)

    promise = present(source.next())["promise"]
    assert (promise["id"], promise["state"]) == ("b", "REJECTED_TIMEDOUT")
    source.stop()
    assert source.next() is None
    late.subscribe("s", source.unicast)


def test_source_waits_for_a_message_although_nothing_is_ever_due(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = store.message_source("workers", "me")
    monkeypatch.setattr(store, "next_wake_at", lambda: END_OF_TIME)
    message: Any = {"type": "invoke", "task": {"id": "__invoke:q", "counter": 1}}
    threading.Timer(0.05, source.enqueue, [message]).start()

    assert source.next() == message
