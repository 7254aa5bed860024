"""How a message reaches a worker.

`lambda://name` is an asynchronous invoke. An `http(s)://` push would make the dispatcher wait for somebody else's
server, so it goes through a queue, whose consumer posts it with a short timeout and, where the receiver is a Lambda
function URL, signs it. A `poll://` group is served by the push address that it is mapped to; a group that maps to
nothing has workers that poll, if it has any, and they find the task by themselves.

A push ends within `TOTAL_TIMEOUT_S`, whatever its receiver does. The timeouts of a socket count from one byte to the
next, so a receiver that sends a byte every few seconds would never meet them. Of an answer only the status counts, and
its body is not read.

A receiver that fails is logged and left to redispatch: the task stays pending and is offered again. Only a failure of
our own queue is an error.

So that nobody else can invoke a worker, a push says who it is from: a function URL is signed to with the sender's own
credentials, any other receiver is shown the secret `RESONATE_PUSH_TOKEN` (docs/protocol.md 2.3).

Whoever creates a promise says where to post, and must not make us post to ourselves or to our neighbours: in Lambda
only public addresses are posted to, and any other ends the delivery (docs/security.md). What counts is the address
that a connection has led to, not a name or a lookup before it, which the owner of a name could change in between.

The development server posts without AWS, so its libraries are loaded only where they are used.
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

from resonate_store.interface import Applies
from resonate_store.model.addresses import route
from resonate_store.model.records import PromiseView

logger = logging.getLogger("resonate.transports")

CONNECT_TIMEOUT_S = 5.0
"""Seconds to reach a worker over HTTP."""
READ_TIMEOUT_S = 5.0
"""Seconds to wait for its reply; a worker that takes longer has the message."""
TOTAL_TIMEOUT_S = 10.0
"""Seconds that a push takes at most, from the look-up of its address to the last header of the answer."""
MAX_ADDRESSES = 3
"""Addresses of one name that a push tries to reach; they share the time to connect."""


_TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))


class Transports:
    """Message sink on AWS.

    Args:
        lambda_client, sqs: boto3 clients.
        groups: which push address serves a worker group.
        push_queue_url: the queue of HTTP pushes.
        own: names of functions that we may invoke, but that are not workers.
    """

    def __init__(
        self,
        lambda_client: Any,
        sqs: Any,
        groups: Mapping[str, str],
        push_queue_url: str,
        own: Collection[str] = (),
    ) -> None:
        self._own = own
        self._lambda = lambda_client
        self._sqs = sqs
        self._groups = groups
        self._push_queue_url = push_queue_url

    def leads_home(self, address: str) -> bool:
        """Whether messages to an address would invoke a function of the deployment that is not a worker."""
        destination = route(address, self._groups) or ""
        return destination.startswith("lambda://") and function_of(destination) in self._own

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Hand a message over to its transport, without waiting for the receiver's work."""
        destination = route(address, self._groups)
        if destination is None:
            logger.info("%s is mapped to no push address; its workers have to poll", address)
        elif destination.startswith("lambda://"):
            invoke(self._lambda, destination, message)
        else:
            self.enqueue({"address": destination, "message": message})

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:  # noqa: ARG002 - not needed before it is sent
        """Have a settled promise sent to a listener.

        Its values may be larger than any message. So the queue carries the promise's id, and its consumer reads it.
        """
        destination = route(address, self._groups)
        if destination is None:
            logger.info("%s is mapped to no push address; it has to ask for %s", address, promise.id)
        else:
            self.enqueue({"address": destination, "settled": promise.id})

    def enqueue(self, errand: Any) -> None:
        """Put something on the push queue, for its consumer to do."""
        # SQS refuses a few characters that an id may have, so everything but ASCII is escaped.
        body = json.dumps(msgspec.to_builtins(errand))
        self._sqs.send_message(QueueUrl=self._push_queue_url, MessageBody=body)


def invoke(client: Any, address: str, message: dict[str, Any]) -> None:
    """Invoke a function asynchronously.

    Args:
        client: a boto3 client for Lambda.
        address: `lambda://name[:qualifier]`.
        message: what it is invoked with.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = address.removeprefix("lambda://")
    try:
        client.invoke(FunctionName=name, InvocationType="Event", Payload=msgspec.json.encode(message))
    except (ClientError, BotoCoreError) as error:
        logger.warning("invoking %s failed, the task will be offered again: %s", name, error)


def function_of(address: str) -> str:
    """The name of the function that `lambda://...` means, without an account, an alias or a version."""
    name = address.removeprefix("lambda://")
    return name.split(":")[6] if name.startswith("arn:") else name.split(":")[0]


class ForbiddenAddress(HTTPError):
    """The receiver's name or address leads to this machine or to a network that is not the internet."""


def is_public(host: str) -> bool:
    """Whether an IP address belongs to the internet: not loopback, link-local, private, multicast or reserved.

    An address that stands for one of IPv4 behind a gateway (NAT64, IPv4-compatible) is not, wherever it leads.
    """
    address = ip_address(host.partition("%")[0])
    if any(address in network for network in _TRANSLATED):
        return False
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not (mapped or address).is_multicast


class Pusher:
    """Posts messages to workers over HTTP.

    Args:
        session: a boto3 session, for the credentials that function URLs are signed with; None to sign nothing.
        token: the secret shared with every other worker; None to show none.
        connect_timeout_s: the time to reach a worker.
        read_timeout_s: the time to wait for its reply; a worker that takes longer has the message.
        total_timeout_s: the time that a push takes at most.
        width: pushes at the same time.
        public_only: post to addresses of the internet only.
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
        # A pool keeps one connection open for each of those who post, and that to the hosts used last.
        self._pool = PoolManager(
            retries=False, timeout=Timeout(connect=connect_timeout_s, read=read_timeout_s), maxsize=width
        )
        rules = {"total_timeout_s": total_timeout_s, "public_only": public_only}
        plain, tls = type("_Plain", (_Connection,), rules), type("_Tls", (_TlsConnection,), rules)
        named = {"__str__": _shown}  # urllib3 begins the text of an error with that of the pool
        pools: dict[str, type[HTTPConnectionPool] | type[HTTPSConnectionPool]] = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain, **named}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls, **named}),
        }
        self._pool.pool_classes_by_scheme = pools

    def push(self, address: str, message: dict[str, Any]) -> bool:
        """Post a message.

        Returns:
            Whether the receiver has it: it answered 2xx, or did not answer in time after it was sent.

        Raises:
            ForbiddenAddress: it would have left the internet; nothing was sent.
        """
        (outcome,) = self.push_all([(address, message)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def push_all(self, pushes: Sequence[tuple[str, dict[str, Any]]]) -> list[bool | Exception]:
        """Post several messages at the same time, and return within `total_timeout_s`.

        Returns:
            For each address and message what `push` returns, or the error that it raises.
        """
        begun = [self._start(address, message) for address, message in pushes]
        # A connection keeps the time by itself. What it cannot end is the look-up of a name, whose thread is left.
        wait(begun, timeout=self._total_timeout_s + _GRACE_S)
        outcomes: list[bool | Exception] = []
        for (address, _), future in zip(pushes, begun, strict=True):
            if future.done():
                outcomes.append(future.result())
            else:
                logger.warning("pushing to %s failed, the task will be offered again: its name is not found", address)
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
        # A connection can serve again if nothing is left on it. A body is not read, so its connection ends.
        (response.drain_conn if response.length_remaining == 0 else response.close)()
        if 200 <= response.status < 300:
            return True
        logger.warning("%s answered %d, the task will be offered again", address, response.status)
        return False

    def _headers(self, address: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        host = urlsplit(address).hostname or ""
        # A function URL is https://{id}.lambda-url.{region}.on.aws/, and need not be in our region.
        region = host.partition(".lambda-url.")[2].partition(".")[0]
        if self._session is None or not region:
            return headers if self._token is None else {**headers, "Authorization": f"Bearer {self._token}"}
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("POST", address, headers=headers, data=body)
        SigV4Auth(self._session.get_credentials(), "lambda", region).add_auth(request)
        return dict(request.headers.items())


def _shown(target: Any) -> str:
    """Return host and port of a connection or pool, as logs name it."""
    host = target.host or ""
    return f"[{host}]:{target.port}" if ":" in host and host[0] != "[" else f"{host}:{target.port}"


def _checked(connected: socket.socket, host: str) -> socket.socket:
    """A new connection, before anything is sent on it."""
    peer = connected.getpeername()[0]
    if is_public(peer):
        return connected
    connected.close()
    raise ForbiddenAddress(f"{host} is {peer}, which is not an address of the internet, and nothing is pushed there")


_GRACE_S = 0.5
"""Seconds that a push which has just been ended may take to say so."""


class _Connection(HTTPConnection):
    """Connection that ends an exchange when it takes too long in all, and can refuse addresses outside the internet.

    Attributes:
        total_timeout_s: the time from the beginning of an exchange to the last header of its answer.
        public_only: whether other addresses than those of the internet are refused.
    """

    total_timeout_s = TOTAL_TIMEOUT_S
    public_only = False
    _watch: threading.Timer | None = None
    _expired = False

    def __str__(self) -> str:
        # urllib3 begins the text of an error with that of the connection.
        return _shown(self)

    def connect(self) -> None:
        self._begin()
        try:
            super().connect()
        except TimeoutError as error:
            # The handshake of TLS. A timeout of reading would mean that the message is sent.
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
        """Connect to one of the first addresses of the host, in the time to connect altogether."""
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
                # That of TLS would read on without decrypting.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def _require_time(self) -> None:
        """Raise if the time was over, in the place of what followed from ending the connection."""
        if self._expired:
            raise TimeoutError(f"it took longer than {self.total_timeout_s} seconds")


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""
