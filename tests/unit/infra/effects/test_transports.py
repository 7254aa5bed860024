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
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from resonate_infra.effects import transports
from resonate_infra.effects.transports import ForbiddenAddress, Pusher, Transports
from resonate_store.model.addresses import route
from resonate_store.model.records import PromiseView, Value
from tests.support.aws_doubles import SETTINGS, Lambda, Sqs, refusal

MESSAGE = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
FUNCTION_URL = "https://abcdef.lambda-url.eu-west-3.on.aws/work?tenant=7"


class Wire:
    """Transports over stand-ins."""

    def __init__(self) -> None:
        self.functions, self.sqs = Lambda(), Sqs()
        self.transports = Transports(self.functions, self.sqs, SETTINGS.groups, SETTINGS.push_queue_url)


@pytest.fixture
def wire() -> Wire:
    return Wire()


# Addresses


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("lambda://worker", "worker"),
        ("lambda://worker:live", "worker:live"),
        (
            "lambda://arn:aws:lambda:us-east-1:1:function:worker:3",
            "arn:aws:lambda:us-east-1:1:function:worker:3",
        ),
        ("poll://any@default", "worker"),
        ("poll://any@default/one", "worker"),
        ("poll://uni@default/one", "worker"),
    ],
)
def test_a_lambda_address_is_invoked_asynchronously(wire: Wire, address: str, name: str) -> None:
    wire.transports.send(address, MESSAGE)

    assert wire.functions.invoked == [(name, "Event", MESSAGE)]
    assert wire.sqs.sent == []


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000/x"),
        ("https://worker.example.com", "https://worker.example.com"),
        ("poll://any@remote", "https://worker.example.com/"),
    ],
)
def test_an_http_address_goes_through_the_push_queue(wire: Wire, address: str, destination: str) -> None:
    wire.transports.send(address, MESSAGE)

    assert wire.sqs.sent == [(SETTINGS.push_queue_url, {"address": destination, "message": MESSAGE}, 0)]
    assert wire.functions.invoked == []


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/x", "poll://any@remote", "lambda://worker", "poll://any@default"]
)
def test_queue_carries_the_id_of_a_settled_promise(wire: Wire, address: str) -> None:
    value = Value(data="x" * 2_000_000)
    promise = PromiseView(
        id="p\uffff", state="resolved", param=Value(), value=value, tags={}, timeout_at=2, created_at=1
    )
    wire.transports.notify(address, promise, wire)  # pyright: ignore[reportArgumentType]

    ((url, message, _),) = wire.sqs.sent
    assert (url, message) == (
        SETTINGS.push_queue_url,
        {"address": route(address, SETTINGS.groups), "settled": "p\uffff"},
    )
    assert wire.functions.invoked == []


def test_a_group_that_maps_to_nothing_has_workers_that_poll(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resonate.transports"):
        wire.transports.send("poll://uni@client/1", MESSAGE)

    assert (wire.sqs.sent, wire.functions.invoked) == ([], [])
    assert "poll://uni@client/1" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        refusal("ResourceNotFoundException", "Invoke"),
        refusal("TooManyRequestsException", "Invoke"),
        ConnectTimeoutError(endpoint_url="https://lambda"),
    ],
)
def test_an_invoke_that_fails_is_logged_and_left_to_redispatch(
    wire: Wire, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    wire.functions.refuses = error
    wire.transports.send("lambda://worker", MESSAGE)

    assert "invoking worker failed, the task will be offered again" in caplog.text


def test_a_failure_of_our_own_queue_comes_out(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise refusal("InternalError", "SendMessage")

    monkeypatch.setattr(wire.sqs, "send_message", refuse)

    with pytest.raises(Exception, match="InternalError"):
        wire.transports.send("https://worker.example.com", MESSAGE)


# Pushing; with a real server in tests/deployment/test_push.py


class Pool:
    """Takes requests, and answers as told."""

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


def test_a_message_is_posted_as_json() -> None:
    pool = Pool()

    assert pusher(pool).push("https://worker.example.com/x", MESSAGE)
    ((method, url, body, headers),) = pool.requests
    assert (method, url, json.loads(body)) == ("POST", "https://worker.example.com/x", MESSAGE)
    assert headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("outcome", "delivered"),
    [
        (200, True),
        (204, True),
        (299, True),
        (199, False),
        (302, False),
        (404, False),
        (500, False),
        (ReadTimeoutError(None, "/", "slow"), True),  # pyright: ignore[reportArgumentType]
        (NewConnectionError(None, "refused"), False),  # pyright: ignore[reportArgumentType]
        (ProtocolError("reset"), False),
        (HTTPError("anything"), False),
    ],
    ids=str,
)
def test_a_receiver_has_the_message_if_it_says_so_or_says_nothing(
    outcome: int | Exception, delivered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert pusher(Pool(outcome)).push("https://worker.example.com/x", MESSAGE) is delivered
    assert ("will be offered again" in caplog.text) is not delivered


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]"])
def test_failed_push_is_logged_with_host_and_port(scheme: str, host: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    Pusher().push(f"{scheme}://{host}:{port}/x", MESSAGE)

    assert f"offered again: {host}:{port}: cannot be reached: " in caplog.text
    assert "_Plain" not in caplog.text
    assert "_Tls" not in caplog.text


def test_function_urls_are_signed_for_their_own_region(session: boto3.Session) -> None:
    pool = Pool()
    pusher(pool, session).push(FUNCTION_URL, MESSAGE)

    ((_, url, body, headers),) = pool.requests
    assert url == FUNCTION_URL
    authorization = headers["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-3/lambda/aws4_request" in authorization
    assert "content-type;host;x-amz-date;x-amz-security-token" in authorization
    assert headers["X-Amz-Security-Token"] == "token"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == MESSAGE


@pytest.mark.parametrize(
    "address",
    ["https://worker.example.com/lambda-url.eu-west-3.on.aws", "http://127.0.0.1:9000/?x=.lambda-url.eu-west-3.on.aws"],
)
def test_nothing_else_is_signed(session: boto3.Session, address: str) -> None:
    pool = Pool()
    pusher(pool, session).push(address, MESSAGE)

    assert "Authorization" not in pool.requests[0][3]


@pytest.mark.parametrize("address", ["https://worker.example.com/x", "http://127.0.0.1:9000", FUNCTION_URL])
def test_the_shared_secret_is_shown(address: str) -> None:
    pool = Pool()
    pusher(pool, token="s3cret").push(address, MESSAGE)

    assert pool.requests[0][3] == {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}


def test_what_is_signed_shows_no_secret(session: boto3.Session) -> None:
    pool = Pool()
    pusher(pool, session, "s3cret").push(FUNCTION_URL, MESSAGE)

    assert pool.requests[0][3]["Authorization"].startswith("AWS4-HMAC-SHA256 ")


# Where pushes may go


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
        ),
        *("169.254.170.2", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0"),
        *("fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "::7f00:1", "::a9fe:a9fe"),
    ],
)
def test_only_the_internet_is_public(address: str) -> None:
    assert not transports.is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_the_internet_is_public(address: str) -> None:
    assert transports.is_public(address)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "https://127.0.0.1:{}/", "http://[::ffff:127.0.0.1]:{}/"]
)
def test_nothing_is_sent_to_an_address_that_is_not_public(listener: socket.socket, url: str) -> None:
    address = url.format(listener.getsockname()[1])

    with pytest.raises(ForbiddenAddress, match="not an address of the internet"):
        Pusher(token="s3cret", public_only=True).push(address, MESSAGE)

    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1) == b"", "closed before anything was sent, the handshake of TLS included"


def test_what_is_public_gets_its_message(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no internet here, so this machine stands for it."""
    monkeypatch.setattr(transports, "is_public", lambda host: host == "127.0.0.1")
    pusher = Pusher(public_only=True)
    with ThreadPoolExecutor(max_workers=1) as thread:
        pushed = thread.submit(pusher.push, f"http://127.0.0.1:{listener.getsockname()[1]}/x", MESSAGE)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(10) == b"POST /x HT"
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert pushed.result(5)


# Receivers that take their time


def take(connection: socket.socket) -> None:
    """Read a message to its end."""
    taken = b""
    while not taken.endswith(b"}}}"):
        taken = taken[-3:] + (connection.recv(65_536) or b"}}}")


def serving(listener: socket.socket, answer: Callable[[socket.socket], object]) -> tuple[str, threading.Thread]:
    """The address of a receiver that takes a message and then does `answer`, until its connection ends."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            take(connection)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", thread


def test_push_to_receiver_that_drips_ends_in_time(listener: socket.socket) -> None:
    sent: list[bytes] = []

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        pause = threading.Event()
        while len(sent) < 500:
            connection.sendall(b"x")
            sent.append(b"x")
            pause.wait(0.01)

    address, server = serving(listener, drip)

    assert Pusher(total_timeout_s=0.2).push(address, MESSAGE), "it has the message, whatever it says to it"
    server.join(5)
    assert len(sent) < 500, "its connection was ended"


def test_push_does_not_read_the_body_of_an_answer(listener: socket.socket) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 314572800\r\n\r\n")
        for _ in range(300):
            connection.sendall(bytes(1_048_576))
            sent.append(1_048_576)

    address, server = serving(listener, flood)

    assert Pusher().push(address, MESSAGE)
    server.join(5)
    assert sum(sent) < 30_000_000, "no more than what the buffers of the system hold"


def test_push_that_is_not_taken_in_time_fails(listener: socket.socket) -> None:
    large = {**MESSAGE, "data": "x" * 50_000_000}
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    begun = time.monotonic()

    assert not Pusher(total_timeout_s=0.2, read_timeout_s=60, connect_timeout_s=60).push(address, large)
    assert time.monotonic() - begun < 30


def test_handshake_that_is_not_answered_ends_in_time(listener: socket.socket) -> None:
    assert not Pusher(connect_timeout_s=0.1).push(f"https://127.0.0.1:{listener.getsockname()[1]}/", MESSAGE)


def test_name_that_is_not_looked_up_in_time_ends_the_push(monkeypatch: pytest.MonkeyPatch) -> None:
    done, looked_up = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        done.wait(5)
        looked_up.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert not Pusher(total_timeout_s=0.0).push("http://worker.example.com/", MESSAGE)
    assert not looked_up.is_set(), "the push did not wait for the name"
    done.set()
    assert looked_up.wait(5)


def test_addresses_of_one_name_share_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_connection_without_a_body_left_on_it_serves_again(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        take(connection)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    address, _ = serving(listener, answer)
    pusher = Pusher()

    assert [pusher.push(address, MESSAGE), pusher.push(address, MESSAGE)] == [True, False]


def test_nothing_of_aws_is_loaded_to_push_without_it() -> None:
    program = "import sys, resonate_infra.effects.transports as t; t.Pusher(); print('botocore' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout == "False\n"


def test_pushes_wait_seconds_at_most_and_are_not_repeated() -> None:
    made: dict[str, Any] = {}
    with patch.object(transports, "PoolManager", lambda **arguments: (made.update(arguments), Pool())[1]):
        Pusher()

    timeout = made["timeout"]
    assert (timeout.connect_timeout, timeout.read_timeout) == (transports.CONNECT_TIMEOUT_S, transports.READ_TIMEOUT_S)
    assert timeout.read_timeout <= 10
    assert made["retries"] is False
