"""The API of a deployed stack at a port."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from resonate_infra.testing.stack import OfflineStack
from tests.support.environments import PATIENCE

PAUSE = 0.05
"""How long the deployed stack waits for a request, or a reply (s)."""


class Api(HTTPServer):
    """Serves only where `handle_request` is called: moto takes no locks."""

    def __init__(self, stack: OfflineStack) -> None:
        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self) -> None:
                self._answer()

            def _answer(self, body: bytes = b"") -> None:
                path, headers = self.path.removeprefix("/v1"), dict(self.headers)
                answer = stack.api(body, method=self.command, path=path, headers=headers, signed=False)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None: ...

        super().__init__(("localhost", 0), Requests)
        self.timeout = PAUSE
        self.url = f"http://localhost:{self.server_port}/v1/"
        self._stack = stack

    def serve_until(self, done: Callable[[], bool]) -> bool:
        """Deliver messages and answer requests; whether it came to that."""
        for _ in range(round(PATIENCE / PAUSE)):
            self._stack.pump()
            self.handle_request()
            if done():
                return True
        return False
