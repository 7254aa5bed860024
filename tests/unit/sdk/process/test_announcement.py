"""Announcement of a worker's functions when its stream opens."""

from __future__ import annotations

from resonate import Context
from tests.support.serving import Serving
from tests.support.watched_stores import Connect


def one(_ctx: Context) -> int:
    return 1


def test_worker_announces_once_for_each_stream_and_survives_refusal(remote: Connect, serving: Serving) -> None:
    worker = remote("w")
    worker.register(one)
    worker.start()
    serving.wait_for("worker.announce")

    assert worker.run("a", one) == 1
    assert serving.kinds.count("worker.announce") == 1


def test_client_without_functions_announces_nothing(remote: Connect, serving: Serving) -> None:
    client = remote("c")
    client.start()
    serving.wait_for_stream("c")
    client.promises.create("p", 2**52)
    assert "worker.announce" not in serving.kinds
