"""A Resonate server on a loopback port, in this process: the protocol over a store in memory, and its streams.

Small on purpose: what is under test are the clients. It can be told to misbehave.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from resonate_store.local.memory import MemoryStore
from resonate_store.model.addresses import group_of
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import TARGET
from resonate_store.protocol.service import Service

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


class Serving:
    """A server, from `start` until `stop`; it can be started again, on the same port, with the same promises.

    Attributes:
        store: the promises.
        kinds: of the requests that were performed.
        before: called with the kind of each request; what it returns happens instead: a status is answered by somebody
            in between, "drop" performs the request and closes the connection.
        streams: the queues of those who poll, by group and id; None ends the stream, bytes are sent as they are.
        polled: how often a stream was asked for.
        headers: of the latest request of each method.
    """

    def __init__(self, *, streaming: bool = True, clock: Clock | None = None) -> None:
        self.clock = clock or ambient()
        self.store = MemoryStore(self.clock, self.send)
        self.kinds: list[str] = []
        self.before: Callable[[str], int | str | None] = lambda _: None
        self.streams: dict[tuple[str, str], queue.SimpleQueue[Any]] = {}
        self.streaming = streaming
        self.polled = 0
        self.headers: dict[str, Any] = {}
        self.port = 0
        self._news = threading.Condition()
        self.service = Service(self.store, workers=self._workers, clock=self.clock)
        self._nudged = threading.Event()
        self.stopped = True
        self.connections: set[socket.socket] = set()
        self.store.subscribe(on_wake=lambda _: self._nudged.set())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.stopped = False
        self._http = _Http(("127.0.0.1", self.port), self)
        self.port = self._http.server_address[1]
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.01,)),
            threading.Thread(target=self._keep_time),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End as if killed: every connection is cut."""
        if self.stopped:
            return
        self.stopped = True
        self._nudged.set()
        self._http.shutdown()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.put(None)
        for connection in list(self.connections):
            _cut(connection)
        self._http.server_close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def count(self, kind: str) -> int:
        return self.kinds.count(kind)

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Return once it is true; it is looked at whenever something has happened here."""
        with self._news:
            assert self._news.wait_for(true, PATIENCE), f"{what} did not happen"

    def wait_for_stream(self, group: str, count: int = 1) -> None:
        self.wait_until(lambda: sum(name == group for name, _ in self.streams) >= count, f"a stream of {group}")

    def wait_for(self, kind: str, count: int = 1) -> None:
        self.wait_until(lambda: self.count(kind) >= count, f"{kind} {count} times")

    def send(self, address: str, message: dict[str, Any]) -> None:
        cast, _, rest = address.removeprefix("poll://").partition("@")
        group, _, id = map(unquote, rest.partition("/"))
        members = [key for key in self.streams if key[0] == group]
        named = [key for key in members if key[1] == id]
        for key in named or ([] if cast == "uni" else members):
            self.streams[key].put(b"data: " + msgspec.json.encode(message) + b"\n\n")
            return

    def _workers(self, promise: PromiseView) -> int:
        return sum(group == group_of(promise.tags[TARGET]) for group, _ in self.streams)

    def _keep_time(self) -> None:
        while not self.stopped:
            self._nudged.clear()
            at = self.store.next_wake_at()
            left = None if at is None else (at - self.clock.now()) / 1000
            if left is not None and left <= 0:
                self.store.tick()
            else:
                self._nudged.wait(left)

    def happened(self) -> None:
        with self._news:
            self._news.notify_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], serving: Serving) -> None:
        self.serving = serving
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections are cut here all the time."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.serving.connections.add(self.connection)

    def finish(self) -> None:
        self.server.serving.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        serving = self.server.serving
        serving.headers["POST"] = self.headers
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = msgspec.json.decode(body)["kind"]
        instead = serving.before(kind)
        if isinstance(instead, int):
            self.reply(instead, b"somebody in between")
            return
        status, answer = serving.service.answer(body)
        serving.kinds.append(kind)
        if instead == "drop":
            _cut(self.connection)
        else:
            self.reply(status, answer)
        serving.happened()

    def do_GET(self) -> None:
        serving = self.server.serving
        serving.headers["GET"] = self.headers
        serving.polled += 1
        if not serving.streaming:
            self.reply(404, b"Not Found")
            serving.happened()
            return
        _, _, group, id = self.path.split("/")
        stream: queue.SimpleQueue[Any] = queue.SimpleQueue()
        key = (unquote(group), unquote(id))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        # Before the response begins: whoever has seen it counts on being sent what comes from then on.
        serving.streams[key] = stream
        try:
            self.end_headers()
            serving.happened()
            while (data := stream.get()) is not None and not serving.stopped:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            pass
        finally:
            if serving.streams.get(key) is stream:
                del serving.streams[key]
            _cut(self.connection)
            serving.happened()

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture(name="serving")
def new_server() -> Iterator[Serving]:
    """A server for one test."""
    server = Serving()
    server.start()
    yield server
    server.stop()
