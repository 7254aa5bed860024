"""Web server whose request handler makes a durable call.

The id of the call is fixed. So the first request runs the workflow, and every later request is answered from the
stored promise.
"""

import json
import threading
from collections.abc import Generator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def foo(ctx: Context) -> Generator[Any, Any, str]:
    print("running foo")
    value: str = yield ctx.run(bar)
    return value


def bar(ctx: Context) -> Generator[Any, Any, str]:
    print("running bar")
    value: str = yield ctx.run(baz)
    return value


def baz(_: Context) -> str:
    print("running baz")
    return "hello world!"


class Routes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/foo":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = json.dumps({"value": foo.run("webserver-foo")}).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing, so that the output shows only what the functions print."""


handler = resonate.handler()

if __name__ == "__main__":
    try:
        with ThreadingHTTPServer(("127.0.0.1", 0), Routes) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            try:
                for _ in range(2):
                    with urlopen(f"http://127.0.0.1:{server.server_port}/foo", timeout=10) as response:
                        print("GET /foo:", response.read().decode())
            finally:
                server.shutdown()
    finally:
        resonate.stop()
