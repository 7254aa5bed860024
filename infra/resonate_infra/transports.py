"""How a message reaches a worker.

`lambda://name` is an asynchronous invoke. An `http(s)://` push would make the dispatcher wait for somebody else's
server, so it goes through a queue, whose consumer posts it with a short timeout and, where the receiver is a Lambda
function URL, signs it. A `poll://` group is served by the push address that it is mapped to; a group that maps to
nothing has workers that poll, if it has any, and they find the task by themselves.

A receiver that fails is logged and left to redispatch: the task stays pending and is offered again. Only a failure of
our own queue is an error.

So that nobody else can invoke a worker, a push says who it is from: a function URL is signed to with the sender's own
credentials, any other receiver is shown the secret `RESONATE_PUSH_TOKEN` that it shares with us (REFERENCE 2.3).

Whoever creates a promise says where to post, and must not make us post to ourselves or to our neighbours: in Lambda
only public addresses are posted to, and any other ends the delivery (docs/security.md). What counts is the address
that a connection has led to, not a name or a lookup before it, which the owner of a name could change in between.

The development server posts without AWS, so its libraries are loaded only where they are used.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError

from resonate_store.addresses import route

logger = logging.getLogger("resonate.transports")

CONNECT_TIMEOUT = 5.0
"""Seconds to reach a worker over HTTP."""
READ_TIMEOUT = 5.0
"""Seconds to wait for its reply; a worker that takes longer has the message."""


class Transports:
    """Sends messages.

    Args:
        lambda_client, sqs: boto3 clients.
        groups: which push address serves a worker group.
        push_queue_url: the queue of HTTP pushes.
    """

    def __init__(self, lambda_client: Any, sqs: Any, groups: Mapping[str, str], push_queue_url: str) -> None:
        self._lambda = lambda_client
        self._sqs = sqs
        self._groups = groups
        self._push_queue_url = push_queue_url

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Hand a message over to its transport, without waiting for the receiver's work."""
        destination = route(address, self._groups)
        if destination is None:
            logger.info("%s is mapped to no push address; its workers have to poll", address)
        elif destination.startswith("lambda://"):
            invoke(self._lambda, destination, message)
        else:
            self.enqueue({"address": destination, "message": message})

    def enqueue(self, errand: dict[str, Any]) -> None:
        """Put something on the push queue, for its consumer to do."""
        body = msgspec.json.encode(errand).decode()
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


class ForbiddenAddress(HTTPError):
    """The receiver's name or address leads to this machine or to a network that is not the internet."""


def is_public(host: str) -> bool:
    """Whether an IP address belongs to the internet: not loopback, link-local, private, multicast or reserved."""
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not (mapped or address).is_multicast


class Pusher:
    """Posts messages to workers over HTTP.

    Args:
        session: a boto3 session, for the credentials that function URLs are signed with; None to sign nothing.
        token: the secret shared with every other worker; None to show none.
        connect_timeout: seconds to reach a worker.
        read_timeout: seconds to wait for its reply; a worker that takes longer has the message.
        width: pushes at the same time.
        public_only: post to addresses of the internet only.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        token: str | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        width: int = 1,
        public_only: bool = False,
    ) -> None:
        self._session = session
        self._token = token
        # A pool keeps one connection open for each of those who post, and that to the hosts used last.
        self._pool = PoolManager(
            retries=False, timeout=Timeout(connect=connect_timeout, read=read_timeout), maxsize=width
        )
        if public_only:
            self._pool.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTlsPool}

    def push(self, address: str, message: dict[str, Any]) -> bool:
        """Post a message.

        Returns:
            Whether the receiver has it: it answered 2xx, or did not answer in time after it was sent.

        Raises:
            ForbiddenAddress: it would have left the internet; nothing was sent.
        """
        body = msgspec.json.encode(message)
        try:
            response = self._pool.request("POST", address, body=body, headers=self._headers(address, body))
        except ReadTimeoutError:
            return True
        except ForbiddenAddress:
            raise
        except HTTPError as error:
            logger.warning("pushing to %s failed, the task will be offered again: %s", address, error)
            return False
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


def _checked(connected: socket.socket, host: str) -> socket.socket:
    """A new connection, before anything is sent on it."""
    peer = connected.getpeername()[0]
    if is_public(peer):
        return connected
    connected.close()
    raise ForbiddenAddress(f"{host} is {peer}, which is not an address of the internet, and nothing is pushed there")


class _PublicConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection
