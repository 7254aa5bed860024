import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest.mock import Mock, patch

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from resonate_infra.effects import transports
from resonate_infra.effects.transports import ForbiddenAddress, Pusher, Transports
from resonate_store.model.records import PromiseView, Value
from tests.support.aws_doubles import SETTINGS, Lambda, Sqs, refusal

MESSAGE = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
FUNCTION_URL = "https://abcdef.lambda-url.eu-west-3.on.aws/work?tenant=7"


class Wire:
    """Transports over doubles of Lambda and SQS."""

    def __init__(self) -> None:
        self.functions, self.sqs = Lambda(), Sqs()
        self.transports = Transports(self.functions, self.sqs, SETTINGS.groups, SETTINGS.push_queue_url)


@pytest.fixture
def wire() -> Wire:
    return Wire()


# Addresses


FUNCTIONS = {
    "lambda://worker": "worker",
    "lambda://worker:live": "worker:live",
    "lambda://arn:aws:lambda:us-east-1:1:function:worker:3": "arn:aws:lambda:us-east-1:1:function:worker:3",
    "poll://any@default": "worker",
    "poll://any@default/one": "worker",
    "poll://uni@default/one": "worker",
}
URLS = {
    "http://127.0.0.1:8000/x": "http://127.0.0.1:8000/x",
    "https://worker.example.com": "https://worker.example.com",
    "poll://any@remote": "https://worker.example.com/",
}


def test_send_to_a_function_invokes_it_asynchronously(wire: Wire) -> None:
    for address in FUNCTIONS:
        wire.transports.send(address, MESSAGE)

    assert wire.functions.invoked == [(name, "Event", MESSAGE) for name in FUNCTIONS.values()]
    assert wire.sqs.sent == []


def test_send_to_an_http_address_uses_the_push_queue(wire: Wire) -> None:
    for address in URLS:
        wire.transports.send(address, MESSAGE)

    assert wire.sqs.sent == [
        (SETTINGS.push_queue_url, {"address": url, "message": MESSAGE}, 0) for url in URLS.values()
    ]
    assert wire.functions.invoked == []


def test_notify_queues_the_id_of_a_settled_promise(wire: Wire) -> None:
    value = Value(data="x" * 2_000_000)
    promise = PromiseView(
        id="p\uffff", state="resolved", param=Value(), value=value, tags={}, timeout_at=2, created_at=1
    )
    destinations = {address: f"lambda://{name}" for address, name in FUNCTIONS.items()} | URLS
    for address in destinations:
        wire.transports.notify(address, promise, wire)  # pyright: ignore[reportArgumentType]

    assert [(url, errand) for url, errand, _ in wire.sqs.sent] == [
        (SETTINGS.push_queue_url, {"address": destination, "settled": "p\uffff"})
        for destination in destinations.values()
    ]
    assert wire.functions.invoked == []


def test_group_without_push_address_is_sent_nothing(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resonate.transports"):
        wire.transports.send("poll://uni@client/1", MESSAGE)

    assert (wire.sqs.sent, wire.functions.invoked) == ([], [])
    assert "poll://uni@client/1" in caplog.text


def test_failed_invocation_is_logged_only(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    for error in (
        refusal("ResourceNotFoundException", "Invoke"),
        refusal("TooManyRequestsException", "Invoke"),
        ConnectTimeoutError(endpoint_url="https://lambda"),
    ):
        wire.functions.refuses = error
        wire.transports.send("lambda://worker", MESSAGE)

    texts = ("invoking worker failed", "the task will be offered again")
    assert [caplog.text.count(text) for text in texts] == [3, 3]


def test_failure_of_the_push_queue_is_raised(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.sqs, "send_message", Mock(side_effect=refusal("InternalError", "SendMessage")))

    with pytest.raises(Exception, match="InternalError"):
        wire.transports.send("https://worker.example.com", MESSAGE)


# Pushing, without a server. tests/deployment/test_push.py has one.


class Pool:
    """Pool of connections that notes requests, and answers each of them with one outcome."""

    def __init__(self, outcome: int | Exception = 200) -> None:
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._outcome = outcome

    def request(self, method: str, url: str, *, body: bytes, headers: dict[str, str], **_: bool) -> HTTPResponse:
        self.requests.append((method, url, body, headers))
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return HTTPResponse(b"", status=self._outcome)


@pytest.fixture
def session() -> boto3.Session:
    return boto3.Session("AKIDEXAMPLE", "secret", "token", region_name="us-east-1")


def pusher(pool: Pool, session: boto3.Session | None = None, token: str | None = None) -> Pusher:
    with patch.object(transports, "PoolManager", lambda **_: pool):
        return Pusher(session, token=token)


def test_message_is_posted_as_json() -> None:
    pool = Pool()

    assert pusher(pool).push("https://worker.example.com/x", MESSAGE)
    ((method, url, body, headers),) = pool.requests
    assert (method, url, json.loads(body)) == ("POST", "https://worker.example.com/x", MESSAGE)
    assert headers == {"Content-Type": "application/json"}


OUTCOMES: dict[int | Exception, bool] = {
    200: True,
    204: True,
    299: True,
    199: False,
    302: False,
    404: False,
    500: False,
    ReadTimeoutError(None, "/", "slow"): True,  # pyright: ignore[reportArgumentType]
    NewConnectionError(None, "refused"): False,  # pyright: ignore[reportArgumentType]
    ProtocolError("reset"): False,
    HTTPError("anything"): False,
}


def test_push_counts_as_delivered_after_2xx_or_read_timeout(
    caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    for outcome, delivered in OUTCOMES.items():
        with subtests.test(str(outcome)):
            caplog.clear()
            assert pusher(Pool(outcome)).push("https://worker.example.com/x", MESSAGE) is delivered
            assert ("will be offered again" in caplog.text) is not delivered


def test_failed_push_is_logged_with_host_and_port(caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for scheme in ("http", "https"):
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]"):
            with subtests.test(f"{scheme}://{host}"):
                caplog.clear()
                Pusher().push(f"{scheme}://{host}:{port}/x", MESSAGE)
                assert f"offered again: {host}:{port}: cannot be reached: " in caplog.text
                assert "_Plain" not in caplog.text
                assert "_Tls" not in caplog.text


def test_push_to_a_function_url_is_signed_for_its_region(session: boto3.Session) -> None:
    pool = Pool()
    pusher(pool, session, "s3cret").push(FUNCTION_URL, MESSAGE)

    ((_, url, body, headers),) = pool.requests
    assert url == FUNCTION_URL
    authorization = headers["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-3/lambda/aws4_request" in authorization
    assert "content-type;host;x-amz-date;x-amz-security-token" in authorization
    assert headers["X-Amz-Security-Token"] == "token"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == MESSAGE


def test_push_to_another_url_is_not_signed(session: boto3.Session) -> None:
    pool = Pool()
    for address in (
        "https://worker.example.com/lambda-url.eu-west-3.on.aws",
        "http://127.0.0.1:9000/?x=.lambda-url.eu-west-3.on.aws",
    ):
        pusher(pool, session).push(address, MESSAGE)

    assert ["Authorization" in headers for *_, headers in pool.requests] == [False, False]


def test_push_without_session_carries_the_shared_secret() -> None:
    pool = Pool()
    for address in ("https://worker.example.com/x", "http://127.0.0.1:9000", FUNCTION_URL):
        pusher(pool, token="s3cret").push(address, MESSAGE)

    expected = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
    assert [headers for *_, headers in pool.requests] == [expected] * 3


# Where pushes may go


PRIVATE = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"),
    *("169.254.170.2", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0"),
    *("fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "::7f00:1", "::a9fe:a9fe"),
)
PUBLIC = ("93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1")


def test_is_public_admits_addresses_of_the_internet_only() -> None:
    assert [address for address in PRIVATE if transports.is_public(address)] == []
    assert [address for address in PUBLIC if not transports.is_public(address)] == []


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


def test_push_to_a_private_address_sends_no_byte(listener: socket.socket, subtests: pytest.Subtests) -> None:
    port = listener.getsockname()[1]
    for host in ("http://127.0.0.1", "http://localhost", "https://127.0.0.1", "http://[::ffff:127.0.0.1]"):
        with subtests.test(host):
            with pytest.raises(ForbiddenAddress, match="not an address of the internet"):
                Pusher(token="s3cret", public_only=True).push(f"{host}:{port}/", MESSAGE)

            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1) == b"", "closed before the handshake of TLS"


def test_push_to_a_public_address_is_delivered(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests have no internet, so the address of this machine counts as public.
    monkeypatch.setattr(transports, "is_public", lambda host: host == "127.0.0.1")
    pusher = Pusher(public_only=True)
    with ThreadPoolExecutor(max_workers=1) as thread:
        pushed = thread.submit(pusher.push, f"http://127.0.0.1:{listener.getsockname()[1]}/x", MESSAGE)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(10) == b"POST /x HT"
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert pushed.result(5)


# Slow receivers


def take(connection: socket.socket) -> None:
    """Read a message to its end."""
    taken = b""
    while not taken.endswith(b"}}}"):
        taken = taken[-3:] + (connection.recv(65_536) or b"}}}")


def serving(listener: socket.socket, answer: Callable[[socket.socket], object]) -> tuple[str, threading.Thread]:
    """Start a receiver that reads one message and then calls `answer`. Return its address and its thread."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            take(connection)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", thread


def test_push_to_dripping_receiver_ends_in_time(listener: socket.socket) -> None:
    sent: list[bytes] = []

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        pause = threading.Event()
        while len(sent) < 500:
            connection.sendall(b"x")
            sent.append(b"x")
            pause.wait(0.01)

    address, server = serving(listener, drip)

    assert Pusher(total_timeout_s=0.2).push(address, MESSAGE), "it has read the message"
    server.join(5)
    assert len(sent) < 500, "its connection was ended"


def test_push_does_not_read_the_body_of_a_response(listener: socket.socket) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 314572800\r\n\r\n")
        for _ in range(300):
            connection.sendall(bytes(1_048_576))
            sent.append(1_048_576)

    address, server = serving(listener, flood)

    assert Pusher().push(address, MESSAGE)
    server.join(5)
    assert sum(sent) < 30_000_000, "at most what the buffers of the system hold"


def test_push_that_is_not_read_in_time_fails(listener: socket.socket) -> None:
    large = {**MESSAGE, "data": "x" * 50_000_000}
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    begun = time.monotonic()

    assert not Pusher(total_timeout_s=0.2, read_timeout_s=60, connect_timeout_s=60).push(address, large)
    assert time.monotonic() - begun < 30


def test_push_with_unanswered_tls_handshake_ends_in_time(listener: socket.socket) -> None:
    assert not Pusher(connect_timeout_s=0.1).push(f"https://127.0.0.1:{listener.getsockname()[1]}/", MESSAGE)


def test_push_with_slow_name_lookup_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done, looked_up = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        done.wait(5)
        looked_up.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert not Pusher(total_timeout_s=0.0).push("http://worker.example.com/", MESSAGE)
    assert not looked_up.is_set(), "the push did not wait for the lookup"
    done.set()
    assert looked_up.wait(5)


def test_push_shares_connect_time_among_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float | None] = []

    class Unreachable(socket.socket):
        def connect(self, address: Any) -> None:
            tried.append(self.gettimeout())
            raise TimeoutError(f"{address} does not answer")

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 80)) for n in range(100)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Unreachable)

    assert not Pusher(connect_timeout_s=6).push("http://worker.example.com/", MESSAGE)
    assert tried == [2, 2, 2]


def test_pushes_of_a_batch_are_posted_at_the_same_time(listener: socket.socket) -> None:
    together = threading.Barrier(3, timeout=5)

    def answer(connection: socket.socket) -> None:
        together.wait()
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    addresses = [serving(listener, answer)[0] for _ in range(3)]

    assert Pusher().push_all([(address, MESSAGE) for address in addresses]) == [True, True, True]


def test_push_reuses_a_connection_without_unread_body(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        take(connection)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    address, _ = serving(listener, answer)
    pusher = Pusher()

    assert [pusher.push(address, MESSAGE), pusher.push(address, MESSAGE)] == [True, False]


def test_pusher_without_session_does_not_import_botocore() -> None:
    program = "import sys, resonate_infra.effects.transports as t; t.Pusher(); print('botocore' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout == "False\n"


def test_pusher_limits_timeouts_and_does_not_retry() -> None:
    made: dict[str, Any] = {}
    with patch.object(transports, "PoolManager", lambda **arguments: (made.update(arguments), Pool())[1]):
        Pusher()

    timeout = made["timeout"]
    assert (timeout.connect_timeout, timeout.read_timeout) == (transports.CONNECT_TIMEOUT_S, transports.READ_TIMEOUT_S)
    assert timeout.read_timeout <= 10
    assert made["retries"] is False
