"""A server on the loopback interface that remembers the messages that it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any


class Server:
    """A server that remembers what it was sent.

    Attributes:
        status: what it answers.
        before: called before it answers.
        arrived: the headers of each message.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any], str]] = []
        self.status = 200
        self.before: Callable[[], object] = lambda: None
        self.arrived: Queue[dict[str, str]] = Queue()
        remember = self._remember

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(remember(self.path, json.loads(body), dict(self.headers.items())))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _remember(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> int:
        self.received.append((path, body, headers["Content-Type"]))
        self.before()
        status = self.status
        self.arrived.put(headers)
        return status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
