"""Keep-alive connections to a server that misbehaves."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.httpsession import where
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from resonate_store.aws import connections as module
from resonate_store.aws.calls import ServiceCalls
from resonate_store.aws.connections import CallLimits, Connections, tls_context
from resonate_store.aws.dynamodb import DynamoClient, verify_checksum
from resonate_store.aws.errors import AwsError, AwsRefusal, AwsUnreachable
from resonate_store.aws.exchange import AwsRequest, AwsResponse
from resonate_store.aws.http import HttpConnection
from resonate_store.model.clock import SystemClock
from tests.support.hostile_server import (
    Answer,
    HostileServer,
    chunked,
    drips,
    hostile_server,
    is_silent,
    refusal,
    resets,
    response,
    sends,
)
from tests.support.steps import PATIENCE

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
LIMITS = CallLimits(connect_timeout_s=PATIENCE, read_timeout_s=PATIENCE, attempts=1)
SHORT_S = 1.0
"""Timeout for silence. A good response on a busy machine takes less."""


class Pauses:
    """Clock that notes its pauses, and does not wait."""

    def __init__(self) -> None:
        self.passed: list[int] = []

    def now(self) -> int:
        return SystemClock().now()

    def sleep(self, milliseconds: int) -> None:
        self.passed.append(milliseconds)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[HttpConnection]:
    """The connections that clients have opened."""
    opened: list[HttpConnection] = []

    class Noted(HttpConnection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr(module, "HttpConnection", Noted)
    return opened


def wait_until_readable(opened: list[HttpConnection]) -> None:
    """Return when the end of every connection, or more bytes on it, have arrived at the client."""
    until = time.monotonic() + PATIENCE
    while not all(connection.is_readable() for connection in opened):
        assert time.monotonic() < until, "nothing has arrived"
        SystemClock().sleep(1)


def client_of(server: HostileServer, pauses: Pauses | None = None, **limits: Any) -> DynamoClient:
    calls = ServiceCalls(
        "dynamodb",
        "us-east-1",
        server.url,
        LIMITS._replace(**limits),
        verify=verify_checksum,
        environment=CREDENTIALS,
        clock=pauses or Pauses(),
    )
    return DynamoClient(calls)


def request_to(server: HostileServer, **headers: str) -> AwsRequest:
    host = server.url.removeprefix("http://")
    return AwsRequest("dynamodb", "GetItem", 1, f"{server.url}/", {"host": host, **headers}, b"{}")


def test_requests_share_a_connection_and_ask_for_plain_text(server: HostileServer) -> None:
    client = client_of(server)
    server.script.extend([sends(response(b'{"n":1}')), sends(response(b'{"n":2}'))])

    assert [client.get_item(a="b"), client.put_item(c="d")] == [{"n": 1}, {"n": 2}]
    first, second = server.arrived
    assert (first.connection, second.connection) == (1, 1)
    assert (first.head, first.body, second.body) == ("POST / HTTP/1.1", b'{"a":"b"}', b'{"c":"d"}')
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert first.headers["x-amz-security-token"] == "token"
    assert first.headers["host"] == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    "answer",
    [
        sends(b"HTTP/1.1 100 Continue\r\n\r\n" + response(b'{"n":1}')),
        sends(chunked(b'4\r\n{"n"\r\n3\r\n:1}\r\n0\r\n\r\n')),
        sends(response(b'{"n":1}', content_length="", connection="close"), ends=True),
        drips(response(b'{"n":1}'), 1),
        sends(chunked(b'7;a=b\r\n{"n":1}\r\n00\r\nchecksum: 1\r\n\r\n')),
        drips(chunked(b'4\r\n{"n"\r\n3\r\n:1}\r\n0\r\na: b\r\n\r\n'), 1),
        sends(response(b'{"n":1}').replace(b"HTTP/1.1", b"HTTP/1.0"), ends=True),
        sends(response(b'{"n":1}').replace(b"200 OK", b"200")),
        sends(response(b'{"n":1}', Content_Length="7")),
        sends(response(b'{"n":1}') + b"and more"),
    ],
    ids=[
        "after a continue", "chunked", "until the end", "byte by byte", "extensions and trailers",
        "chunked byte by byte", "old version", "no reason", "length twice", "more than its length",
    ],
)  # fmt: skip
def test_response_is_read_however_it_is_framed(server: HostileServer, answer: Answer) -> None:
    client = client_of(server)
    server.script.append(answer)

    assert client.get_item() == {"n": 1}
    assert client.get_item() == {}


def test_response_that_ends_its_connection_needs_a_new_one(server: HostileServer) -> None:
    client = client_of(server)
    server.script.append(sends(response(connection="close"), ends=True))

    client.get_item()
    client.get_item()
    assert [each.connection for each in server.arrived] == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        sends(b"", ends=True),
        resets(),
        sends(b"HTTP/1.1 200 OK\r\ncontent-le", ends=True),
        sends(response(b'{"n":1}')[:-2], ends=True),
        resets(response(b'{"n":1}')[:-2]),
        sends(chunked(b"4\r\n{}"), ends=True),
        is_silent,
        sends(b"SSH-2.0-OpenSSH_9.6\r\n", ends=True),
        sends(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000 + b"\r\n"),
        sends(b"HTTP/1.1 200 OK\r\na: " + b"b" * 300_000 + b"\r\n\r\n"),
        sends(response(x_amz_crc32="1")),
        sends(response(x_amz_crc32="many")),
        sends(response(b"<html>", x_amz_crc32="")),
        sends(response(b"[]")),
        sends(response(b"{}")[:-2] + b"\x1f\x8b"),
        sends(chunked(b"-1\r\n")),
        sends(chunked(b"x\r\n")),
        sends(chunked(b"0x2\r\n{}\r\n0\r\n\r\n")),
        sends(chunked(b"+2\r\n{}\r\n0\r\n\r\n")),
        sends(chunked(b"0_2\r\n{}\r\n0\r\n\r\n")),
        sends(chunked(b"1\r\n{}\r\n0\r\n\r\n")),
        sends(chunked(b"2\r\n{}\r\n0\r\n"), ends=True),
        sends(chunked(b"0" * 100_000)),
        sends(response(transfer_encoding="gzip")),
        sends(response(content_length="-2")),
        sends(response(content_length="0" * 5_000 + "2")),
        sends(response(a="b\ntransfer-encoding: chunked")),
        sends(response(a="b\rc")),
        sends(response(b"[" * 100_000)),
        sends(response(content_length="2 ")[:-2], ends=True),
        sends(response(Content_Length="3")),
        sends(response(folded="a\r\n b")),
        sends(response(name_="a")[:-6].replace(b"name-", b"name ") + b"\r\n\r\n{}"),
        sends(response(status="OK")),
        sends(response().replace(b"HTTP/1.1", b"HTTP/2")),
    ],
    ids=[
        "closed", "reset", "head cut", "body cut", "body reset", "chunk cut", "silence", "not HTTP", "many headers",
        "long header", "other checksum", "no checksum", "not JSON", "not an object", "compressed",
        "negative chunk", "chunk without size", "size of Python", "size with a sign", "size with an underscore",
        "chunk too long", "trailers cut", "endless size", "unknown encoding",
        "negative length", "length of 5001 digits", "half a line break", "other half", "deep JSON",
        "length with a space", "two lengths", "folded header", "space in a name", "no status",
        "other version",
    ],
)  # fmt: skip
def test_request_without_a_whole_response_is_sent_again(server: HostileServer, answer: Answer, pauses: Pauses) -> None:
    server.script.append(answer)
    with pytest.raises(AwsUnreachable):
        client_of(server, read_timeout_s=SHORT_S).get_item()

    server.script.append(answer)
    assert client_of(server, pauses, read_timeout_s=SHORT_S, attempts=2).get_item() == {}
    assert len(pauses.passed) == 1
    assert len(server.arrived) == 3


@pytest.mark.parametrize(
    "whole", [response(b'{"n":1}', x_amz_crc32=""), chunked(b'4;a=b\r\n{"n"\r\n3\r\n:1}\r\n0\r\nc: d\r\n\r\n')]
)
def test_response_that_is_cut_at_any_byte_is_an_error(server: HostileServer, whole: bytes) -> None:
    connections = Connections(server.url, LIMITS)
    for end in range(len(whole)):
        server.script.append(sends(whole[:end], ends=True))
        with pytest.raises(AwsUnreachable):
            connections(request_to(server))
    server.script.append(sends(whole))
    assert connections(request_to(server)).body == b'{"n":1}'


def test_slow_response_ends_at_the_read_timeout(server: HostileServer) -> None:
    server.script.append(is_silent)
    began = time.monotonic()
    with pytest.raises(AwsUnreachable, match="timed out"):
        client_of(server, read_timeout_s=0.2).get_item()
    assert 0.15 < time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("answer", "code", "again"),
    [
        (refusal("ThrottlingException"), "ThrottlingException", True),
        (refusal("ProvisionedThroughputExceededException"), "ProvisionedThroughputExceededException", True),
        (refusal("InternalServerError", "500 Internal Server Error"), "InternalServerError", True),
        (response(b"<html>", "502 Bad Gateway", x_amz_crc32=""), "502", True),
        (response(b"", "503 Service Unavailable"), "503", True),
        (response(b"", "429 Too Many Requests"), "429", True),
        (refusal("ConditionalCheckFailedException"), "ConditionalCheckFailedException", False),
        (refusal("ValidationException"), "ValidationException", False),
        (response(b"", "301 Moved Permanently", location="http://127.0.0.1:9/"), "301", False),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refusals_that_may_pass_are_sent_again(
    server: HostileServer, answer: bytes, code: str, again: bool, pauses: Pauses
) -> None:
    server.script.extend([sends(answer)] * 2)
    with pytest.raises(AwsRefusal) as refused:
        client_of(server, pauses, attempts=2).get_item()

    assert refused.value.code == code
    assert len(server.arrived) == (2 if again else 1)
    assert len(pauses.passed) == len(server.arrived) - 1
    assert {each.connection for each in server.arrived} == {1}, "a refusal is a whole response"


def test_large_responses_are_read_whole(server: HostileServer) -> None:
    client = client_of(server)
    for size in (65_536, 65_537, 3_000_000):
        body = b'{"a":"' + b"x" * size + b'"}'
        server.script.append(sends(response(body)))
        assert len(client.get_item()["a"]) == size
        server.script.append(sends(chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))))
        assert len(client.get_item()["a"]) == size
    assert {each.connection for each in server.arrived} == {1}


@contextmanager
def hasty_server(answer: bytes) -> Generator[str]:
    """Yield the address of a server that answers the first bytes of one connection, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread.submit(serve)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_refusal_before_the_end_of_a_request_is_read() -> None:
    """The service closes the connection while most of the request is still on its way."""
    answer = refusal("RequestEntityTooLargeException", "413 Content Too Large", connection="close")
    with hasty_server(answer) as host:
        calls = ServiceCalls("dynamodb", "us-east-1", f"http://{host}", LIMITS, environment=CREDENTIALS)
        with pytest.raises(AwsRefusal) as refused:
            DynamoClient(calls).put_item(a="x" * 30_000_000)

    assert refused.value.code == "RequestEntityTooLargeException"


def test_large_request_arrives_whole(server: HostileServer) -> None:
    client_of(server).put_item(a="x" * 3_000_000)
    assert len(server.arrived[0].body) == 3_000_008


@pytest.mark.parametrize(
    "answer",
    [
        sends(response() + b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":1}'),
        sends(response(connection="Close")),
        sends(response(connection="TE, Close")),
        sends(response(connection="close", Connection="keep-alive")),
        sends(response(b"2\r\n{}\r\n0\r\n\r\n", transfer_encoding="chunked", x_amz_crc32="")),
        sends(response().replace(b"HTTP/1.1", b"HTTP/1.0")),
    ],
    ids=[
        "another response behind it", "asked to close", "asked among others", "asked by one of two headers",
        "chunks with a length", "old version",
    ],
)  # fmt: skip
def test_connection_is_not_used_again(server: HostileServer, answer: Answer) -> None:
    client = client_of(server)
    server.script.append(answer)

    assert [client.get_item(), client.get_item()] == [{}, {}]
    assert [each.connection for each in server.arrived] == [1, 2]


def test_connection_with_late_bytes_is_not_used_again(server: HostileServer, opened: list[HttpConnection]) -> None:
    """The next request would get them as its response."""
    client, late = client_of(server), threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(response())
        late.wait(PATIENCE)
        connection.sendall(response(b'{"n":1}'))

    server.script.append(answer)
    assert client.get_item() == {}
    late.set()
    wait_until_readable(opened)

    assert client.get_item() == {}
    assert [each.connection for each in server.arrived] == [1, 2]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_response_without_a_body_is_complete(server: HostileServer, status: str) -> None:
    connections = Connections(server.url, LIMITS)
    server.script.append(sends(response(b"", status, content_length="5")))

    assert connections(request_to(server))[::2] == (int(status[:3]), b"")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_connections_that_ended_while_frozen_cost_no_attempt(
    server: HostileServer, opened: list[HttpConnection], reset: bool
) -> None:
    client = client_of(server)
    with ThreadPoolExecutor(3) as threads:
        server.script.extend([drips(response(), 1)] * 3)
        list(threads.map(lambda _: client.get_item(), range(3)))
    server.drop(reset=reset)
    wait_until_readable(opened)

    assert client.get_item() == {}


@pytest.mark.parametrize("ending", [sends(b"", ends=True), resets()], ids=["closed", "reset"])
def test_connection_that_ends_under_a_request_is_replaced_at_once(
    server: HostileServer, ending: Answer, pauses: Pauses
) -> None:
    """The service closes the connection while a request is on its way."""
    client = client_of(server, pauses)
    client.get_item()
    server.script.append(ending)

    assert client.put_item(once="more") == {}
    assert [each.connection for each in server.arrived] == [1, 1, 2]
    assert server.arrived[1].body == server.arrived[2].body
    assert pauses.passed == []


def test_new_connection_without_a_response_is_a_failed_attempt(server: HostileServer, pauses: Pauses) -> None:
    server.script.extend([sends(b"", ends=True)] * 2)
    with pytest.raises(AwsUnreachable, match="closed before a response"):
        client_of(server, pauses, attempts=2).get_item()
    assert len(server.arrived) == 2
    assert len(pauses.passed) == 1


@pytest.mark.parametrize(("ending", "attempts"), [(resets(), 1), (is_silent, 2)], ids=["reset", "silence"])
def test_other_idle_connections_are_not_tried_after_one_has_ended(
    server: HostileServer, ending: Answer, attempts: int
) -> None:
    """They are as old. Each connection that a firewall has forgotten would cost a timeout."""
    client = client_of(server, read_timeout_s=SHORT_S, attempts=attempts)
    with ThreadPoolExecutor(3) as threads:
        server.script.extend([drips(response(), 1)] * 3)
        list(threads.map(lambda _: client.get_item(), range(3)))
    server.arrived.clear()
    server.script.append(ending)

    assert client.get_item() == {}
    assert server.arrived[0].connection in (1, 2, 3)
    assert server.arrived[1].connection == 4


def test_idle_connections_are_as_many_as_the_limit(server: HostileServer) -> None:
    connections = Connections(server.url, LIMITS._replace(connections=2))
    with ThreadPoolExecutor(4) as threads:
        server.script.extend([drips(response(), 1)] * 4)
        list(threads.map(connections, [request_to(server)] * 4))
        list(threads.map(connections, [request_to(server)] * 2))

        assert len({each.connection for each in server.arrived}) == 4
        server.script.extend([drips(response(), 1)] * 4)
        list(threads.map(connections, [request_to(server)] * 4))

    assert len({each.connection for each in server.arrived}) == 6, "two were kept, and two are new"


def test_many_threads_share_a_client(server: HostileServer) -> None:
    client = client_of(server, connections=50)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: client.put_item(n=n), range(200)))

    assert answers == [{}] * 200
    assert sorted(int(re.sub(rb"\D", b"", each.body)) for each in server.arrived) == list(range(200))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process_opens_a_connection_of_its_own(server: HostileServer) -> None:
    """On a shared connection one process could read the response of the other."""
    program = (
        "import os; from resonate_store.aws.connections import CallLimits;"
        "from resonate_store.aws.clients import client_of; client = client_of('dynamodb', CallLimits(5, 5, 1));"
        "client.get_item(); child = os.fork(); child and os.waitpid(child, 0); client.get_item()"
    )
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    environment = {**CREDENTIALS, **files, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.url}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)

    assert [each.connection for each in server.arrived] == [1, 2, 1], "that of the child is the second one"


def test_port_without_a_listener_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    calls = ServiceCalls("dynamodb", "us-east-1", f"http://127.0.0.1:{port}", LIMITS, environment=CREDENTIALS)
    with pytest.raises(AwsUnreachable, match=rf"127\.0\.0\.1:{port}.*refused"):
        DynamoClient(calls).get_item()


def test_name_that_does_not_exist_is_unreachable() -> None:
    calls = ServiceCalls("dynamodb", "us-east-1", "http://nowhere.invalid", LIMITS, environment=CREDENTIALS)
    with pytest.raises(AwsUnreachable, match=r"nowhere\.invalid"):
        DynamoClient(calls).get_item()


def test_server_without_tls_is_unreachable() -> None:
    with hasty_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as host, pytest.raises(AwsUnreachable, match="SSL"):
        Connections(f"https://{host}", LIMITS)(AwsRequest("dynamodb", "GetItem", 1, f"https://{host}/", {}, b"{}"))


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "caf\xe9"])
def test_header_with_other_characters_is_refused(server: HostileServer, value: str) -> None:
    with pytest.raises(AwsError, match="ASCII"):
        Connections(server.url, LIMITS)(request_to(server, x=value))
    assert server.arrived == []


def test_interrupted_exchange_leaves_no_connection_behind(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same connection, the next request would read the rest of this response."""
    connections = Connections(server.url, LIMITS)

    def interrupted(*_: Any) -> AwsResponse:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("resonate_store.aws.http.HttpConnection._body", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connections(request_to(server))
    connections(request_to(server))

    assert [each.connection for each in server.arrived] == [1, 2]


# Over TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate of `localhost` and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[HostileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with hostile_server(context) as server:
        yield server


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients trust the certificate."""
    context = tls_context()
    context.load_verify_locations(certificate)
    monkeypatch.setattr("resonate_store.aws.connections.tls_context", lambda: context)


@pytest.mark.usefixtures("trusted")
def test_requests_over_tls_share_a_connection(tls_server: HostileServer) -> None:
    client = client_of(tls_server)
    body = b'{"a":"' + b"x" * 200_000 + b'"}'
    tls_server.script.extend([sends(response(body)), drips(response(b'{"n":1}'), 1)])

    assert len(client.get_item()["a"]) == 200_000
    assert client.get_item() == {"n": 1}
    assert client.put_item(a="x" * 200_000) == {}
    assert {each.connection for each in tls_server.arrived} == {1}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_tls_connection_that_ended_while_frozen_costs_no_attempt(
    tls_server: HostileServer, opened: list[HttpConnection], reset: bool
) -> None:
    client = client_of(tls_server)
    client.get_item()
    tls_server.drop(reset=reset)
    wait_until_readable(opened)

    assert client.get_item() == {}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("ending", [sends(b"", ends=True), resets()], ids=["closed", "reset"])
def test_tls_connection_that_ends_under_a_request_is_replaced(
    tls_server: HostileServer, ending: Answer, pauses: Pauses
) -> None:
    client = client_of(tls_server, pauses)
    client.get_item()
    tls_server.script.append(ending)

    assert client.put_item() == {}
    assert [each.connection for each in tls_server.arrived] == [1, 1, 2]
    assert pauses.passed == []


@pytest.mark.usefixtures("trusted")
def test_tls_response_with_more_behind_it_ends_its_connection(tls_server: HostileServer) -> None:
    client = client_of(tls_server)
    tls_server.script.append(sends(response() + b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":1}'))

    assert [client.get_item(), client.get_item()] == [{}, {}]
    assert [each.connection for each in tls_server.arrived] == [1, 2]


@pytest.mark.usefixtures("trusted")
def test_tls_response_until_the_end_needs_the_end_of_tls(tls_server: HostileServer) -> None:
    """A third party can end the connection of TCP, but not that of TLS."""
    tls_server.script.append(sends(response(content_length="", x_amz_crc32=""), ends=True))
    with pytest.raises(AwsUnreachable, match="EOF"):
        client_of(tls_server).get_item()


@pytest.mark.usefixtures("trusted")
def test_tls_handshake_names_the_host(certificate: Path) -> None:
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with hostile_server(context) as server:
        client_of(server).get_item()

    assert names == ["localhost"]


def test_certificate_that_is_not_trusted_is_refused(tls_server: HostileServer) -> None:
    with pytest.raises(AwsUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        client_of(tls_server).get_item()
    assert tls_server.arrived == []


@pytest.mark.usefixtures("trusted")
def test_certificate_of_another_host_is_refused(tls_server: HostileServer) -> None:
    connections = Connections(tls_server.url.replace("localhost", "127.0.0.1"), LIMITS)
    with pytest.raises(AwsUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        connections(request_to(tls_server))


def test_certificates_are_those_of_boto3() -> None:
    expected = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    expected.load_verify_locations(where())

    assert tls_context().get_ca_certs() == expected.get_ca_certs()
    assert tls_context().verify_mode == ssl.CERT_REQUIRED
    assert tls_context().check_hostname
