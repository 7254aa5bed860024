"""Messages of a server, over one long HTTP response: `GET /poll/{group}/{id}` (docs/protocol.md 2.3).

The server sends each message as one event. When the connection ends, the poller connects again: after 1 s, and then
after pauses that double up to 60 s. A deployed API has no such endpoint, because it pushes to its workers. The poller
does not ask such a server again, and callers that wait for a promise read it instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import quote, urlsplit

import msgspec

from resonate.message_sources.source import Receive
from resonate.threads import join
from resonate_store.interface import StoreError
from resonate_store.model.backoff import Backoff
from resonate_store.model.servers import ServerSettings
from resonate_store.remote.http import reason_of
from resonate_store.remote.settings import server_of

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection

FIRST_PAUSE_MS: Final = 1_000
"""The pause before the first reconnection; doubled until there is a connection."""
LONGEST_PAUSE_MS: Final = 60_000
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 10.0
"""Maximum time until the server begins its response. The time between two events is not limited."""

# With keep-alive, the operating system notices a dead peer within a minute.
_SOCKET_OPTIONS: list[tuple[int, int, int | bytes]] = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]

logger = logging.getLogger("resonate.messages")


class NoEndpoint(Exception):
    """This server cannot be polled, now or later."""


class Disconnected(Exception):
    """The connection failed or has ended."""


class _ServerEvents(Protocol):
    status: int

    def read1(self, amt: int | None = None) -> bytes: ...

    def close(self) -> None: ...


class Poller:
    """Receiver of messages from a server.

    Settings that are not given are read from the environment; see `resonate_store.remote.settings`.

    Args:
        group, id: the worker group and the name of this process.
        url: the address of the server; instead of `host` and `port`.
        host: scheme and name of the server, such as `http://localhost`.
        port: the port of `host`.
        auth: user name and password, for HTTP basic authentication.
        token: a JWT.
        server: all settings in one object, instead of the arguments above.
        pause: waits that many seconds before a reconnection, or until the poller is stopped.
        works: returns whether this process has functions to run. If not, a server that cannot be polled is only logged
            at level DEBUG.
    """

    def __init__(
        self,
        group: str = "default",
        id: str = "default",
        *,
        url: str | None = None,
        host: str | None = None,
        port: str | int | None = None,
        auth: tuple[str, str] | None = None,
        token: str | None = None,
        server: ServerSettings | None = None,
        pause: Callable[[float], Any] | None = None,
        works: Callable[[], bool] = lambda: True,
    ) -> None:
        if server is None:
            server = server_of(
                os.environ, url=url, host=host, message_source_port=port, auth=auth, token=token, iam=False
            )
        segment = f"{quote(group, safe='')}/{quote(id, safe='')}"
        self.unicast = f"poll://uni@{segment}"
        self.anycast = f"poll://any@{segment}"
        self.url = f"{server.messages_url}/poll/{segment}"
        self._headers = {**server.headers, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pause: Callable[[float], Any] = pause or self._stopped.wait
        self._works = works
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._connected = False
        self._receive: Receive = lambda _: None
        self._changed: Callable[[], None] = lambda: None
        self._complained = False

    @property
    def connected(self) -> bool:
        """Whether the connection to the server is made."""
        return self._connected

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to receive messages. Do nothing if the poller runs.

        Args:
            receive: takes each message, in the thread of the poller. An exception of it is logged.
            changed: called when the connection is made or lost.
        """
        # The thread needs it. A child of a fork could never import what another thread was importing at that moment.
        import urllib3  # noqa: F401  # pyright: ignore[reportUnusedImport]

        with self._lock:
            if self._thread is None:
                self._receive, self._changed = receive, changed
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="resonate-poll", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Close the connection, and wait for the thread that reads it."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
            self._hang_up()
        if thread is not None:
            join([thread])

    def _hang_up(self) -> None:
        """End the read of the polling thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        backoff, tries = Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS), 0
        while not self._stopped.is_set():
            try:
                for message in self._messages():
                    tries = 0
                    if message is not None:
                        self._hand_over(message)
                reason = "the server closed it"
            except Disconnected as error:
                reason = str(error)
            except (NoEndpoint, StoreError) as error:
                level = logging.WARNING if self._works() else logging.DEBUG
                logger.log(level, "%s cannot be polled, so no work arrives here from it: %s", self.url, error)
                return
            finally:
                self._set_connected(False)
            if self._stopped.is_set():
                return
            self._complain(reason)
            tries += 1
            self._pause(backoff.pause_ms(tries) / 1000)

    def _messages(self) -> Iterator[Any]:
        """Yield None once the connection is made, and then each message.

        Raises:
            Disconnected: the connection failed or ended.
            NoEndpoint: the server cannot be polled.
            StoreError: the server's certificate is not valid.
        """
        from urllib3.exceptions import HTTPError, SSLError

        connection = self._open()
        stream: _ServerEvents | None = None
        try:
            stream = self._ask(connection)
            self._set_connected(True)
            yield None
            for data in events(stream):
                try:
                    yield msgspec.json.decode(data)
                except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                    logger.warning("%s sent an event that is not a message: %s", self.url, error)
        except SSLError as error:
            raise StoreError(f"the server cannot be trusted: {error}") from error
        except (HTTPError, OSError, ValueError) as error:
            # A read of a connection that is shut down raises any of these.
            raise Disconnected(reason_of(error)) from error
        finally:
            with self._lock:
                self._socket = None
            if stream is not None:
                stream.close()
            connection.close()

    def _open(self) -> HTTPConnection:
        from urllib3.connection import HTTPConnection, HTTPSConnection

        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(str(parts.hostname), parts.port, timeout=CONNECT_TIMEOUT_S, socket_options=_SOCKET_OPTIONS)

    def _ask(self, connection: HTTPConnection) -> _ServerEvents:
        """Send the request, and return the response once it begins."""
        connection.connect()
        sock = connection.sock
        with self._lock:
            if self._stopped.is_set():
                raise Disconnected("stopped")
            self._socket = sock
        sock.settimeout(ANSWER_TIMEOUT_S)
        connection.request("GET", urlsplit(self.url).path, headers=self._headers, preload_content=False)
        response = connection.getresponse()
        kind = response.headers.get("Content-Type", "")
        if response.status == 200 and kind.startswith("text/event-stream"):
            sock.settimeout(None)
            return cast("_ServerEvents", response)
        shown = f"{response.status} {response.data[:200].decode(errors='replace').strip()}".strip()
        if response.status in (401, 408, 429) or response.status >= 500:
            raise Disconnected(f"the server answers {shown}")
        raise NoEndpoint(f"it answers {shown}")

    def _hand_over(self, message: Any) -> None:
        try:
            self._receive(message)
        except Exception:
            logger.exception("a message could not be processed: %.200r", message)

    def _set_connected(self, connected: bool) -> None:
        if self._connected != connected:
            self._connected = connected
            if connected and self._complained:
                self._complained = False
                logger.warning("%s is connected again", self.url)
            self._changed()

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("%s is not connected, trying again: %s", self.url, reason)


def events(stream: _ServerEvents) -> Iterator[bytes]:
    """Yield the data of each complete event of a stream. Comments, names and an incomplete event are skipped."""
    pending = b""
    data: list[bytes] = []
    while chunk := stream.read1(65_536):
        pending += chunk
        *lines, pending = pending.split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
