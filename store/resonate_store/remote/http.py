"""Calls to a Resonate server: one request and one response, tried again until their time is over.

A fault that may pass is tried again after a pause that doubles: no connection, no response, 429 or 5xx. Other faults
are raised at once: an address without a Resonate server, a certificate that cannot be verified, a gateway that refuses
the request.

An answer is *doubtful* if an earlier try may have been carried out and its response was lost. The store decides what
that means.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import Raw, Struct

from resonate_store.interface import StoreError, StoreUnreachable
from resonate_store.model.backoff import Backoff
from resonate_store.model.clock import Clock
from resonate_store.model.ids import Identify
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.wire import KINDS, TIME, VERSION
from resonate_store.server_clock import ServerClock

if TYPE_CHECKING:
    from resonate_store.remote.signature import RequestSignature

FIRST_PAUSE_MS: Final = 50
"""The pause (ms) before the second try. Each further try doubles it; random jitter shortens it by up to a half."""
LONGEST_PAUSE_MS: Final = 5_000
SLICE_MS: Final = 100
"""How often (ms) a pause checks whether to continue."""
CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 10.0
"""The longest time (s) that one try waits for its response."""
CONNECTIONS: Final = 32
"""How many connections are kept open."""

logger = logging.getLogger("resonate.store")


class Reply(NamedTuple):
    """An HTTP response. The names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fault(Exception):
    """Raised when a try has no response. `sent` says whether the server may have received the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Post(Protocol):
    """Makes one try."""

    def __call__(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        """Post `body` to the server and return its response within `timeout` seconds.

        Raises:
            Fault: no response arrived. A later try may succeed.
            StoreError: no try can succeed.
        """
        ...


class Answer(NamedTuple):
    """Answer of the server: the status and the data of the envelope, and the kinds that the server advertises."""

    status: int
    data: Raw
    doubtful: bool
    kinds: Collection[str] = ()


class _ReplyHead(Struct):
    status: int
    time: int | None = msgspec.field(name=TIME, default=None)
    kinds: tuple[str, ...] = msgspec.field(name=KINDS, default=())


class _ReplyEnvelope(Struct):
    head: _ReplyHead
    data: Raw = Raw(b"null")


_decode = msgspec.json.Decoder(_ReplyEnvelope).decode


class Calls:
    """Client of a server.

    Args:
        server: the addresses and the credentials.
        clock: the source of time, also for the pauses between tries.
        identify: makes the ids that distinguish requests in a server's log.
        jitter: returns random numbers in [0, 1), which spread the pauses of clients that try again.
        post: makes one try.

    Attributes:
        insistent: whether faults are tried again. A process that is about to stop sets it to False; pauses then end.
        server_clock: shows the server's time.
        kinds: the kinds that the latest answer advertises, which other servers do not know.
    """

    def __init__(
        self,
        server: ServerSettings,
        clock: Clock,
        identify: Identify,
        jitter: Callable[[], float],
        post: Post,
    ) -> None:
        self.insistent = True
        self.server_clock = ServerClock(clock)
        self.kinds: Collection[str] = ()
        self._server = server
        self._clock = clock
        self._identify = identify
        self._backoff = Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, spread=0.5, chance=jitter)
        self._post = post
        self._signature: RequestSignature | None = None
        self._down = False

    def call(self, kind: str, data: Any, timeout_s: float) -> Answer:
        """Make one call.

        Args:
            kind: the kind of the request.
            data: the data of the request.
            timeout_s: the time (s) that all tries together may take.

        Raises:
            StoreUnreachable: no try had an answer.
            StoreError: the server cannot be called, or it is not a Resonate server.
        """
        head = {"corrId": self._identify(), "version": VERSION}
        if self._server.token is not None:
            head["auth"] = self._server.token
        body = msgspec.json.encode({"kind": kind, "head": head, "data": data})
        end = self._clock.now() + round(timeout_s * 1000)
        doubtful = False
        tries = 0
        while True:
            tries += 1
            answer: Answer | None = None
            wait_ms = 0
            try:
                headers, sent_at = self._headers(body), self._clock.now()
                reply = self._post(body, headers, max(0.001, (end - sent_at) / 1000))
            except Fault as fault:
                reason, sent = str(fault), fault.sent
            else:
                answer = self._answer(reply, doubtful, sent_at)
                if answer is not None and answer.status < 500 and answer.status != 429:
                    self._is_up()
                    return answer
                reason, sent = f"it answers {_shown(reply)}", reply.status >= 500
                wait_ms = _retry_after(reply)
            doubtful = doubtful or sent
            wait_ms = max(wait_ms, self._backoff.pause_ms(tries))
            if _is_final(answer, kind) or not self._worth(end, wait_ms):
                if answer is not None:
                    return answer._replace(doubtful=doubtful)
                raise StoreUnreachable(f"{self._server.url} cannot be reached: {reason}")
            self._is_down(reason)
            self._rest(wait_ms)

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **self._server.headers}
        if self._server.scope is None:
            return headers
        if self._signature is None:
            from resonate_store.remote.signature import RequestSignature

            self._signature = RequestSignature(self._server.scope)
        return self._signature.headers("POST", f"{self._server.url}/", headers, body)

    def _answer(self, reply: Reply, doubtful: bool, sent_at: int) -> Answer | None:
        """Return the answer in a response, or None for a failure of a gateway that may pass.

        Raises:
            StoreError: the response is not from a Resonate server.
        """
        try:
            envelope = _decode(reply.body)
        except (msgspec.MsgspecError, UnicodeError):
            pass
        else:
            self.server_clock.hear(sent_at, self._clock.now(), envelope.head.time)
            self.kinds = envelope.head.kinds
            return Answer(envelope.head.status, envelope.data, doubtful, envelope.head.kinds)
        if reply.status == 413:
            return Answer(413, Raw(msgspec.json.encode(_shown(reply))), doubtful)
        if reply.status == 429 or reply.status >= 500:
            return None
        url = self._server.url
        if reply.status in (401, 403):
            raise StoreError(
                f"{url} refuses us before the Resonate server is asked ({_shown(reply)}): check the url, the token, or"
                " whether requests have to be signed (iam=True)"
            )
        if 300 < reply.status < 400:
            raise StoreError(f"{url} redirects to {reply.headers.get('location', 'elsewhere')}: use that url")
        if reply.status == 410:
            raise StoreError(f"{url} is a Resonate server that does not speak this protocol any more: {_shown(reply)}")
        raise StoreError(f"{url} is not a Resonate server: it answers {_shown(reply)}")

    def _worth(self, end: int, wait_ms: int) -> bool:
        return self.insistent and self._clock.now() + wait_ms < end

    def _rest(self, milliseconds: int) -> None:
        end = self._clock.now() + milliseconds
        while self.insistent and (left := end - self._clock.now()) > 0:
            self._clock.sleep(min(left, SLICE_MS))

    def _is_down(self, reason: str) -> None:
        if not self._down:
            self._down = True
            logger.warning("%s cannot be reached, trying again: %s", self._server.url, reason)

    def _is_up(self) -> None:
        if self._down:
            self._down = False
            logger.warning("%s answers again", self._server.url)


def _is_final(answer: Answer | None, kind: str) -> bool:
    """Return whether another try has no use.

    501 says that the server does not implement the request, and 429 that an inbox is full: the caller decides.
    """
    return answer is not None and (answer.status == 501 or (answer.status == 429 and kind == "message.send"))


def path_of(url: str) -> str:
    """Return the path of requests to a server."""
    _, _, rest = url.partition("://")
    _, slash, path = rest.partition("/")
    return f"{slash}{path}/" if slash else "/"


def reason_of(error: Exception) -> str:
    """Return the text of an error without its connection object."""
    return re.sub(r"\A(?:<[^>]*>|\w+\([^)]*\)): ", "", str(error)) or type(error).__name__


def _shown(reply: Reply) -> str:
    text = reply.body[:200].decode(errors="replace").strip()
    return f"{reply.status} {text}" if text else f"{reply.status} without a body"


def _retry_after(reply: Reply) -> int:
    """Return the pause (ms) that the server asks for, or 0."""
    text = reply.headers.get("retry-after", "")
    return int(text) * 1000 if text.isascii() and text.isdigit() else 0
