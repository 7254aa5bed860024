"""`RemoteStore`: its arguments, and what it does not learn from a server."""

from __future__ import annotations

from typing import Any

from resonate.stores import LocalStore, RemoteStore
from resonate_store.model.clock import ManualClock
from tests.support.low_level import INVOKE, JSON, SOON, TTL, refused
from tests.support.present import present
from tests.support.wire import URL, posted_to


def test_remote_store_takes_host_and_port_by_position() -> None:
    encoder: Any = JSON
    store = RemoteStore("http://promises.test", "8123", ("user", "secret"), encoder, 5)
    assert (store.server.url, store.server.auth) == ("http://promises.test:8123", ("user", "secret"))
    assert store.encoder == JSON
    assert RemoteStore("http://promises.test").server.url == "http://promises.test"


def test_remote_task_without_a_callback_cannot_be_completed(kept: LocalStore, clock: ManualClock) -> None:
    store = RemoteStore(URL, clock=clock, post=posted_to(kept))
    _, created = store.promises.create_with_task("p", clock.now() + SOON, "pid", TTL, tags=INVOKE)
    task = present(created)

    assert refused(task.complete, match="name at least one awaited promise") == 40000
    store.promises.resolve("p")
    task.complete()
