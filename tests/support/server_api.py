"""A server on a port of this machine, and a client that speaks HTTP to it and knows nothing else of us."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from resonate_infra.server.assembly import Server, ServerOptions

PATIENCE = 10.0
"""Seconds after which a test that waits for somebody has failed."""
FAR = 2**52
"""A timeout that never comes (ms)."""
_NUMBERS = itertools.count(1)


class Stream:
    """A poll connection."""

    def __init__(self, port: int, path: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        self._connection.request("GET", path, headers=headers or {})
        self.response = self._connection.getresponse()

    def line(self) -> str:
        """The next line that is not empty; "" at the end of the stream."""
        while (line := self.response.readline()) and not line.strip():
            pass
        return line.decode().strip()

    def message(self) -> dict[str, Any]:
        while (line := self.line()).startswith(":"):
            pass
        assert line.startswith("data: "), f"no message: {line!r}"
        return json.loads(line.removeprefix("data: "))

    def task(self) -> str:
        """The task that the next message offers."""
        return self.message()["data"]["task"]["id"]

    def close(self) -> None:
        self.response.close()
        self._connection.close()


class Api:
    """A client of a server. `token` is the one of its requests."""

    def __init__(self, url: str) -> None:
        self.port = urlsplit(url).port or 80
        self.token: str | None = None

    def http(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask(self, kind: str, status: int = 200, **data: Any) -> Any:
        """Make a request of the protocol, and return the data of the response, which has this status."""
        corr_id = str(next(_NUMBERS))
        head = {"corrId": corr_id, "version": "2026-04-01"} | ({"auth": self.token} if self.token else {})
        envelope = {"kind": kind, "head": head, "data": data}
        http_status, _, body = self.http("POST", "/", json.dumps(envelope).encode())
        answer = json.loads(body)
        assert (http_status, answer["head"]["status"]) == (status, status), answer
        assert (answer["kind"], answer["head"]["corrId"]) == (kind, corr_id)
        return answer["data"]

    def create(self, id: str, target: str | None = None, timeout_at: int = FAR, **tags: str) -> Any:
        tags = tags | ({"resonate:target": target} if target else {})
        return self.ask("promise.create", id=id, timeoutAt=timeout_at, tags=tags)["promise"]

    @contextmanager
    def poll(self, group: str, id: str, headers: dict[str, str] | None = None) -> Iterator[Stream]:
        stream = Stream(self.port, f"/poll/{group}/{id}", headers)
        try:
            assert stream.response.status == 200
            yield stream
        finally:
            stream.close()


@contextmanager
def serving(clock: Any = None, **options: Any) -> Iterator[Api]:
    """Serve on a free port with these options of the development server."""
    with Server(ServerOptions(port=0, **options), clock).running() as server:
        yield Api(f"http://localhost:{server.port}")
