"""Uvicorn in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from resonate_infra.server.listening import Uvicorn, listen
from tests.support.server_api import PATIENCE


@contextmanager
def running(uvicorn: Uvicorn, listening: threading.Event) -> Iterator[int]:
    """Run uvicorn in a thread. Yield its port."""
    sockets = listen("localhost", 0)
    thread = threading.Thread(target=uvicorn.run, args=(sockets,))
    thread.start()
    assert listening.wait(PATIENCE)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        uvicorn.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
