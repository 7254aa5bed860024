"""Requests about the workers that poll a server."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from resonate_store.protocol.wire import WireError
from resonate_store.protocol.workers import (
    AnnouncedWorker,
    FoundWorkers,
    WorkerView,
    perform_about_workers,
)


class Directory:
    def __init__(self) -> None:
        self.announced: list[tuple[AnnouncedWorker, str]] = []

    def announce(self, worker: AnnouncedWorker, prefix: str) -> bool:
        self.announced.append((worker, prefix))
        return worker.id == "polls"

    def workers(self, prefix: str) -> list[WorkerView]:
        return [WorkerView("g", prefix)]


def ask(directory: Directory, kind: str, data: bytes) -> Any:
    return perform_about_workers(directory, kind, Raw(data), "t1.")


def test_announcement_reaches_the_directory_with_the_prefix_of_the_token() -> None:
    directory = Directory()
    assert ask(directory, "worker.announce", b'{"group": "g", "id": "polls", "functions": [{"name": "f"}]}') == {}
    assert directory.announced == [(AnnouncedWorker("g", "polls", [{"name": "f"}]), "t1.")]
    assert ask(directory, "worker.search", b"{}") == FoundWorkers([WorkerView("g", "t1.")])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"group": "g", "id": "gone", "functions": []}', "this worker has no stream"),
        (b'{"group": "g"}', "missing required field `id`"),
    ],
)
def test_announcement_without_stream_or_data_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        ask(Directory(), "worker.announce", data)
