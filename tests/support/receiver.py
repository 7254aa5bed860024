"""A server on the loopback interface that remembers the messages that it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """A server that remembers what it was sent.

    Attributes:
        status: what it answers.
        before: called before it answers.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any], str]] = []
        self.status = 200
        self.before: Callable[[], object] = lambda: None
        remember = self._remember

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = remember(self.path, json.loads(body), self.headers["Content-Type"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _remember(self, path: str, body: dict[str, Any], content_type: str) -> int:
        self.received.append((path, body, content_type))
        self.before()
        return self.status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
