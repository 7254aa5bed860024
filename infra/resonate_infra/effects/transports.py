"""Transports of messages to workers and listeners: Lambda invocations and HTTP pushes.

The scheme of an address selects the transport:

- `lambda://name` is an asynchronous invocation of a Lambda function.
- `http(s)://` is a push over HTTP. It goes through a queue, so that the dispatcher does not wait for the receiver. The
  consumer of the queue posts it with a short timeout, and signs it if the receiver is a Lambda function URL.
- `poll://group` is sent to the push address that the group is mapped to. If the group has no push address, nothing is
  sent: its workers poll for tasks.

A push ends within `TOTAL_TIMEOUT_S`. The timeouts of a socket are not enough, because they count from one byte to the
next: a receiver could send one byte every few seconds. Only the status of the response counts; the body is not read.

A failure of the receiver is logged only. The task stays pending and is offered again. A failure of our own queue is an
error.

A push identifies its sender, so that a worker can refuse other callers (docs/protocol.md 2.3). A push to a function URL
is signed with the credentials of the sender. Any other push carries the secret `RESONATE_PUSH_TOKEN`.

The creator of a promise chooses the address, and must not reach our own machine or network through it. So in Lambda
only public addresses are posted to, and any other address ends the delivery (docs/security.md). The address of the open
connection is checked. A name or an earlier lookup is not enough, because the owner of the name could change it.

The development server posts without AWS. So the libraries of AWS are imported only in the functions that use them.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import msgspec
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from resonate_store.aws.services import InvokingClient, QueueClient
from resonate_store.delivery.messages import LambdaMessages
from resonate_store.delivery.sinks import Denied, VersionDeleted
from resonate_store.interface import Applies
from resonate_store.model.addresses import route
from resonate_store.model.records import PromiseView

logger = logging.getLogger("resonate.transports")

CONNECT_TIMEOUT_S = 5.0
"""Maximum seconds to connect to a worker over HTTP."""
READ_TIMEOUT_S = 5.0
"""Maximum seconds to wait for the response to a push. If it takes longer, the message counts as delivered."""
TOTAL_TIMEOUT_S = 10.0
"""Maximum seconds of a push, from the lookup of its address to the last header of the response."""
MAX_ADDRESSES = 3
"""Maximum number of addresses of one name that a push tries. They share the time to connect."""


_TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""IPv6 networks whose addresses contain an IPv4 address that a gateway translates (NAT64, IPv4-compatible)."""


class Transports(LambdaMessages):
    """Message sink that reaches every address.

    Args:
        lambda_client, sqs: clients of Lambda and SQS.
        groups: the push address of each worker group.
        push_queue_url: the SQS queue of HTTP pushes.
        own: names of functions of the deployment that are not workers.
    """

    def __init__(
        self,
        lambda_client: InvokingClient,
        sqs: QueueClient,
        groups: Mapping[str, str],
        push_queue_url: str,
        own: Collection[str] = (),
    ) -> None:
        super().__init__(lambda_client, groups, own)
        self._sqs = sqs
        self._push_queue_url = push_queue_url

    def reaches(self, address: str) -> bool:  # noqa: ARG002
        return True

    def notifies(self, address: str) -> bool:  # noqa: ARG002
        return True

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send a message by the transport of its address. Do not wait for the receiver's work.

        Raises:
            VersionDeleted: the address names a version of a function that does not exist.
        """
        destination = route(address, self._groups)
        if destination is not None and not destination.startswith("lambda://"):
            self.enqueue({"address": destination, "message": message})
            return
        try:
            super().send(address, message)
        except VersionDeleted:
            raise  # waiting does not help
        except Denied as error:
            logger.warning("%s; the task will be offered again", error)

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        """Put a settled promise for a listener on the push queue.

        The values of a promise can be larger than a message may be. So the message has only the promise's id, and the
        consumer of the queue reads the promise.
        """
        destination = route(address, self._groups)
        if destination is None:
            super().notify(address, promise, store)
        else:
            self.enqueue({"address": destination, "settled": promise.id})

    def enqueue(self, errand: Any) -> None:
        """Put an errand on the push queue."""
        # Ids can contain characters that SQS refuses. ASCII with escapes is always accepted.
        body = json.dumps(msgspec.to_builtins(errand))
        self._sqs.send_message(QueueUrl=self._push_queue_url, MessageBody=body)


class ForbiddenAddress(HTTPError):
    """The receiver's address belongs to this machine or to a network outside the internet."""


def is_public(host: str) -> bool:
    """Return whether an IP address belongs to the internet.

    Loopback, link-local, private, multicast and reserved addresses do not. An address of `_TRANSLATED` does not
    either, whatever IPv4 address it contains.
    """
    address = ip_address(host.partition("%")[0])
    if any(address in network for network in _TRANSLATED):
        return False
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not (mapped or address).is_multicast


class Pusher:
    """HTTP client that posts messages to workers and listeners.

    Args:
        session: a boto3 session with the credentials that sign pushes to function URLs. None signs nothing.
        token: the secret that all other pushes carry. None sends no secret.
        connect_timeout_s: maximum seconds to connect to a receiver.
        read_timeout_s: maximum seconds to wait for its response. After them the message counts as delivered.
        total_timeout_s: maximum seconds of a push.
        width: how many pushes run at the same time. The pool keeps this many connections to a host.
        public_only: whether only addresses of the internet are allowed.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        token: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        width: int = 1,
        public_only: bool = False,
    ) -> None:
        self._session = session
        self._token = token
        self._total_timeout_s = total_timeout_s
        # Keep up to `width` connections open to each of the hosts that were used last.
        self._pool = PoolManager(
            retries=False, timeout=Timeout(connect=connect_timeout_s, read=read_timeout_s), maxsize=width
        )
        rules = {"total_timeout_s": total_timeout_s, "public_only": public_only}
        plain, tls = type("_Plain", (_Connection,), rules), type("_Tls", (_TlsConnection,), rules)
        named = {"__str__": _shown}  # urllib3 begins an error text with the text of the pool.
        pools: dict[str, type[HTTPConnectionPool] | type[HTTPSConnectionPool]] = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain, **named}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls, **named}),
        }
        self._pool.pool_classes_by_scheme = pools

    def push(self, address: str, message: dict[str, Any]) -> bool:
        """Post one message.

        Returns:
            Whether the message counts as delivered: the receiver answered 2xx, or it did not answer in time.

        Raises:
            ForbiddenAddress: the address does not belong to the internet. Nothing was sent.
        """
        (outcome,) = self.push_all([(address, message)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def push_all(self, pushes: Sequence[tuple[str, dict[str, Any]]]) -> list[bool | Exception]:
        """Post several messages at the same time. Return shortly after `total_timeout_s` at the latest.

        Returns:
            For each address and message the result of `push`, or the error that `push` raises.
        """
        begun = [self._start(address, message) for address, message in pushes]
        # A connection enforces the timeout, but not for the lookup of a name. The thread of a slow lookup is abandoned.
        wait(begun, timeout=self._total_timeout_s + _GRACE_S)
        outcomes: list[bool | Exception] = []
        for (address, _), future in zip(pushes, begun, strict=True):
            if future.done():
                outcomes.append(future.result())
            else:
                logger.warning("pushing to %s failed, the task will be offered again: its name lookup is slow", address)
                outcomes.append(False)
        return outcomes

    def _start(self, address: str, message: dict[str, Any]) -> Future[bool | Exception]:
        future: Future[bool | Exception] = Future()

        def post() -> None:
            try:
                future.set_result(self._post(address, message))
            except Exception as error:
                future.set_result(error)

        threading.Thread(target=post, name="resonate-push", daemon=True).start()
        return future

    def _post(self, address: str, message: dict[str, Any]) -> bool:
        body = msgspec.json.encode(message)
        try:
            headers = self._headers(address, body)
            response = self._pool.request(
                "POST", address, body=body, headers=headers, preload_content=False, redirect=False
            )
        except ReadTimeoutError:
            return True
        except ForbiddenAddress:
            raise
        except HTTPError as error:
            logger.warning("pushing to %s failed, the task will be offered again: %s", address, error)
            return False
        # A connection can be used again if nothing is left to read. A body is not read, so its connection is closed.
        (response.drain_conn if response.length_remaining == 0 else response.close)()
        if 200 <= response.status < 300:
            return True
        logger.warning("%s answered %d, the task will be offered again", address, response.status)
        return False

    def _headers(self, address: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        host = urlsplit(address).hostname or ""
        # A function URL is https://{id}.lambda-url.{region}.on.aws/. Its region can differ from ours.
        region = host.partition(".lambda-url.")[2].partition(".")[0]
        if self._session is None or not region:
            return headers if self._token is None else {**headers, "Authorization": f"Bearer {self._token}"}
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("POST", address, headers=headers, data=body)
        SigV4Auth(self._session.get_credentials(), "lambda", region).add_auth(request)
        return dict(request.headers.items())


def _shown(target: Any) -> str:
    """Return host and port of a connection or pool, for log lines."""
    host = target.host or ""
    return f"[{host}]:{target.port}" if ":" in host and host[0] != "[" else f"{host}:{target.port}"


def _checked(connected: socket.socket, host: str) -> socket.socket:
    """Return a new connection if its address is public. Otherwise close it and raise `ForbiddenAddress`."""
    peer = connected.getpeername()[0]
    if is_public(peer):
        return connected
    connected.close()
    raise ForbiddenAddress(f"{host} is {peer}, which is not an address of the internet, and nothing is pushed there")


_GRACE_S = 0.5
"""Seconds that a push has to report its end, after `total_timeout_s`."""


class _Connection(HTTPConnection):
    """Connection that limits the total time of an exchange, and can refuse addresses outside the internet.

    Attributes:
        total_timeout_s: maximum seconds from the beginning of an exchange to the last header of its response.
        public_only: whether addresses outside the internet are refused.
    """

    total_timeout_s = TOTAL_TIMEOUT_S
    public_only = False
    _watch: threading.Timer | None = None
    _expired = False

    def __str__(self) -> str:
        # urllib3 begins an error text with the text of the connection.
        return _shown(self)

    def connect(self) -> None:
        self._begin()
        try:
            super().connect()
        except TimeoutError as error:
            # The TLS handshake timed out. As a read timeout it would count as a delivered message.
            raise NewConnectionError(self, f"does not answer: {error}") from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._begin()
        try:
            super().request(*args, **kwargs)
        finally:
            self._require_time()

    def getresponse(self) -> Any:
        try:
            return super().getresponse()
        finally:
            self._end()
            self._require_time()

    def close(self) -> None:
        self._end()
        super().close()

    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that answers. All attempts share the time to connect."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"cannot be looked up: {error}") from error
        timeout: Any = self.timeout
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            connected = socket.socket(family, kind, protocol)
            try:
                connected.settimeout(timeout / len(found))
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connected.connect(address)
            except OSError as error:
                failure = error
                connected.close()
                continue
            connected.settimeout(timeout)
            return _checked(connected, self.host) if self.public_only else connected
        raise NewConnectionError(self, f"cannot be reached: {failure}") from failure

    def _begin(self) -> None:
        if self._watch is None:
            self._expired = False
            self._watch = threading.Timer(self.total_timeout_s, self._expire)
            self._watch.daemon = True
            self._watch.start()

    def _end(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _expire(self) -> None:
        self._expired = True
        connected = self.sock
        if connected is not None:
            with suppress(OSError):
                # The shutdown of a TLS socket would continue to read without decryption.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def _require_time(self) -> None:
        """Raise `TimeoutError` if the time is over. It replaces the error that closing the connection has caused."""
        if self._expired:
            raise TimeoutError(f"it took longer than {self.total_timeout_s} seconds")


class _TlsConnection(_Connection, HTTPSConnection):
    """The same connection over TLS."""
