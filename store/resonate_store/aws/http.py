"""One HTTP/1.1 connection, as far as JSON over POST needs it.

The HTTP client of the standard library parses headers as those of mails. With it a call takes twice the processor time,
and with urllib3 four times (docs/decisions/0069).
"""

from __future__ import annotations

import select
import socket
import ssl
from typing import Final

from resonate_store.aws.errors import AwsUnreachable
from resonate_store.aws.exchange import AwsResponse

_MAX_HEAD_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 64 * 1024
_WITHOUT_BODY: Final = frozenset({204, 304})
_LAST_INFORMATIONAL: Final = 199
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where a response ends. Two that differ would leave the rest of one to be read as the next one."""


class ConnectionEnded(Exception):
    """Raised when a connection ends before the first byte of a response."""


class HttpConnection:
    """Connection to a host.

    Args:
        host: a name or an address.
        port: the port.
        tls: the context of TLS; None means plain TCP.
        connect_timeout_s: seconds to connect, with the handshake of TLS.
        read_timeout_s: seconds from one byte of a response to the next.

    Attributes:
        reusable: whether the connection can serve another request.

    Raises:
        OSError, UnicodeError: the host is not reached.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self.reusable = False
        self._socket = socket.create_connection((host, port), connect_timeout_s)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=host)
            self._socket.settimeout(read_timeout_s)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def is_readable(self) -> bool:
        """Return whether there is something to read. Between two exchanges this is the end of the connection."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([self._socket], [], [], 0)[0])
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def exchange(self, message: bytes) -> AwsResponse:
        """Send a request, and read its response. After an exception the connection cannot be used.

        Raises:
            ConnectionEnded: the connection ends before the first byte of the response.
            AwsUnreachable: the response is cut, or it is not HTTP.
            OSError: the connection breaks, or a timeout is over.
        """
        self.reusable = False
        try:
            self._socket.sendall(message)
            received = self._socket.recv(_READ_BYTES)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise ConnectionEnded from error
        if not received:
            raise ConnectionEnded
        while True:
            status, keeps, headers, received = self._head(received)
            if status > _LAST_INFORMATIONAL:
                break
        body, rest = self._body(status, headers, received)
        self.reusable = keeps and rest == b""
        return AwsResponse(status, headers, body)

    def _head(self, received: bytes) -> tuple[int, bool, dict[str, str], bytes]:
        """Return status, whether the connection stays open, headers, and what follows the head."""
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > _MAX_HEAD_BYTES:
                raise AwsUnreachable("the head of a response does not end")
            received += self._more()
        first, *lines = received[:end].decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (status[:3].isascii() and status[:3].isdigit()):
            raise AwsUnreachable(f"a response is not HTTP: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if not colon or not name or name.strip() != name:
                raise AwsUnreachable(f"a response has a malformed header: {line[:80]!r}")
            if name in _FRAMING and headers.get(name, value) != value:
                raise AwsUnreachable(f"a response has two headers {name!r}")
            headers[name] = value
        keeps = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return int(status[:3]), keeps, headers, received[end + 4 :]

    def _body(self, status: int, headers: dict[str, str], received: bytes) -> tuple[bytes, bytes | None]:
        """Return the body and what follows it; None if the body lasts until the end of the connection."""
        if status in _WITHOUT_BODY:
            return b"", received
        encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if encoding is not None:
            if encoding.lower() != "chunked":
                raise AwsUnreachable(f"a response has the encoding {encoding!r}")
            return self._chunks(received)
        if length is None:
            parts = [received]
            while part := self._socket.recv(_READ_BYTES):
                parts.append(part)
            return b"".join(parts), None
        if not (length.isascii() and length.isdigit()):
            raise AwsUnreachable(f"a response has the length {length!r}")
        return self._exactly(int(length), received)

    def _chunks(self, received: bytes) -> tuple[bytes, bytes]:
        chunks: list[bytes] = []
        while True:
            line, received = self._line(received)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0:
                raise AwsUnreachable(f"a response has a chunk of the size {line[:20]!r}")
            if size == 0:
                break
            chunk, received = self._exactly(size + 2, received)
            if not chunk.endswith(b"\r\n"):
                raise AwsUnreachable("a response has a chunk that is longer than its size")
            chunks.append(chunk[:-2])
        while line:
            line, received = self._line(received)  # trailers
        return b"".join(chunks), received

    def _line(self, received: bytes) -> tuple[bytes, bytes]:
        while (end := received.find(b"\r\n")) < 0:
            if len(received) > _MAX_HEAD_BYTES:
                raise AwsUnreachable("a line of a response does not end")
            received += self._more()
        return received[:end], received[end + 2 :]

    def _exactly(self, size: int, received: bytes) -> tuple[bytes, bytes]:
        if len(received) >= size:
            return received[:size], received[size:]
        parts, missing = [received], size - len(received)
        while missing:
            parts.append(self._more(missing))
            missing -= len(parts[-1])
        return b"".join(parts), b""

    def _more(self, size: int = _READ_BYTES) -> bytes:
        received = self._socket.recv(min(size, 4 * _READ_BYTES))
        if not received:
            raise AwsUnreachable("a response is cut")
        return received
