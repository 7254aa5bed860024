"""HTTP/1.1 on one connection: as much of it as requests with JSON need.

The HTTP client of the standard library parses headers as those of mails. It takes twice the processor time for a call,
and urllib3 takes four times as much (docs/decisions/0069).
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
_MAX_LENGTH_DIGITS: Final = 18
_HEXADECIMAL: Final = b"0123456789abcdefABCDEF"
_ENDINGS: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class ConnectionEnded(Exception):
    """Raised if a connection ends before the first byte of a response."""


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
        OSError, UnicodeError: the host cannot be reached.
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
                # Without an end of TLS, the end of a connection may come from a third party: the response is cut.
                self._socket = tls.wrap_socket(self._socket, server_hostname=host, suppress_ragged_eofs=False)
            self._socket.settimeout(read_timeout_s)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def set_read_timeout(self, seconds: float) -> None:
        """Wait at most `seconds` from one byte of a response to the next."""
        self._socket.settimeout(seconds)

    def is_readable(self) -> bool:
        """Return whether the socket has bytes to read, or has ended. Between two exchanges either ends its use."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([self._socket], [], [], 0)[0])
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def exchange(self, message: bytes) -> AwsResponse:
        """Send a request, and read its response. After an exception, close the connection.

        Raises:
            ConnectionEnded: the connection ends before the first byte of the response.
            AwsUnreachable: the response is cut, or it is not HTTP.
            OSError: the connection breaks, or a timeout has passed.
        """
        self.reusable = False
        is_sent = self._send(message)
        try:
            received = self._socket.recv(_READ_BYTES)
        except OSError as error:
            if is_sent and not isinstance(error, _ENDINGS):
                raise
            raise ConnectionEnded from error
        if not received:
            raise ConnectionEnded
        while True:
            status, keeps, headers, received = self._head(received)
            if status > _LAST_INFORMATIONAL:
                break
        body, rest = self._body(status, headers, received)
        self.reusable = is_sent and keeps and rest == b""
        return AwsResponse(status, headers, body)

    def _send(self, message: bytes) -> bool:
        """Send a request. Return False if the connection ends before all of it is sent.

        A service may refuse a request, and close the connection, before it has read the whole request. Its response is
        then there to be read.
        """
        try:
            self._socket.sendall(message)
        except _ENDINGS:
            return False
        return True

    def _head(self, received: bytes) -> tuple[int, bool, dict[str, str], bytes]:
        """Read the head of a response. Return status, whether the connection stays open, headers, and further bytes."""
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > _MAX_HEAD_BYTES:
                raise AwsUnreachable("the head of a response does not end")
            received += self._more()
        head = received[:end]
        first, *lines = head.decode("latin-1").split("\r\n")
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise AwsUnreachable("the head of a response has half a line break")
        version, _, status = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (status[:3].isascii() and status[:3].isdigit()):
            raise AwsUnreachable(f"a response is not HTTP: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if not colon or not name or name.strip() != name:
                raise AwsUnreachable(f"a response has a malformed header: {line[:80]!r}")
            known = headers.get(name, value)
            # Two headers of a name are a list. No length and no encoding is a list, so `_body` refuses two that differ.
            headers[name] = value if known == value else f"{known}, {value}"
        keeps = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
        return int(status[:3]), keeps, headers, received[end + 4 :]

    def _body(self, status: int, headers: dict[str, str], received: bytes) -> tuple[bytes, bytes | None]:
        """Return the body and the bytes after it; None if the connection cannot be used again."""
        if status in _WITHOUT_BODY:
            return b"", received
        encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if encoding is not None:
            if encoding.lower() != "chunked":
                raise AwsUnreachable(f"a response has the encoding {encoding!r}")
            body, rest = self._chunks(received)
            return body, rest if length is None else None  # an intermediary may have used the length
        if length is None:
            parts = [received]
            while part := self._socket.recv(_READ_BYTES):
                parts.append(part)
            return b"".join(parts), None
        if not (length.isascii() and length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS):
            raise AwsUnreachable(f"a response has the length {length[:80]!r}")
        return self._exactly(int(length), received)

    def _chunks(self, received: bytes) -> tuple[bytes, bytes]:
        chunks: list[bytes] = []
        while True:
            line, received = self._line(received)
            digits = line.partition(b";")[0].rstrip(b" \t")
            if not digits or digits.strip(_HEXADECIMAL):
                raise AwsUnreachable(f"a response has a chunk of the size {line[:20]!r}")
            size = int(digits, 16)
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
