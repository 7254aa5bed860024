"""Calls over real sockets: connections that are kept, refused, cut, slow or not trusted."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resonate_store.interface import StoreError, StoreUnreachable
from resonate_store.model.requests import PromiseCreate, PromiseGet, TaskCreate
from resonate_store.remote.store import HttpStore
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, Serving, new_server  # noqa: F401


def creation(serving: Serving, id: str = "p") -> PromiseCreate:
    return PromiseCreate(id, serving.clock.now() + 60_000, tags={"resonate:target": "poll://any@default"})


def test_http_requests_of_a_thread_share_a_connection(serving: Serving) -> None:
    store = HttpStore(serving.url)
    for _ in range(5):
        assert store.apply(creation(serving)).ok
    assert len(serving.connections) == 1
    assert serving.headers["POST"]["Content-Type"] == "application/json"


def test_http_requests_of_eight_threads_are_all_answered(serving: Serving) -> None:
    store = HttpStore(serving.url)

    def work(n: int) -> list[bool]:
        return [store.apply(creation(serving, f"p{n}-{step}")).ok for step in range(10)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8), timeout=PATIENCE)) == [[True] * 10] * 8
    assert len(serving.store.records()) == 80


def test_http_request_is_repeated_until_the_server_is_back(serving: Serving) -> None:
    store = HttpStore(serving.url)
    assert store.apply(creation(serving)).ok
    serving.stop()
    threading.Timer(0.2, serving.start).start()
    assert store.apply(PromiseGet("p")).ok


def test_http_connection_cut_after_the_request_loses_no_task(serving: Serving) -> None:
    drops = iter(["drop"])
    serving.before = lambda _: next(drops, None)
    response = HttpStore(serving.url).apply(TaskCreate("me", 60_000, creation(serving)))

    assert response.ok
    assert response.task is not None
    assert response.task.version == 1
    assert serving.kinds == ["task.create", "task.create", "task.get", "promise.get"]


def test_http_refused_connection_raises_an_error() -> None:
    store = HttpStore(f"http://127.0.0.1:{free_port()}", timeout=0.2)
    with pytest.raises(
        StoreUnreachable, match=r"http://127\.0\.0\.1:\d+ cannot be reached: [^(<]*[Cc]onnection refused"
    ):
        store.apply(PromiseGet("p"))


def test_http_timeout_raises_an_error(serving: Serving) -> None:
    waiting = threading.Event()
    serving.before = lambda _: waiting.wait(PATIENCE) and None
    try:
        with pytest.raises(StoreUnreachable, match=r"[Rr]ead timed out"):
            HttpStore(serving.url, timeout=0.2).apply(PromiseGet("p"))
    finally:
        waiting.set()


def test_http_unknown_host_raises_an_error() -> None:
    with pytest.raises(StoreUnreachable, match=r"http://nowhere\.invalid:8001 cannot be reached"):
        HttpStore("http://nowhere.invalid:8001", timeout=0.1).apply(PromiseGet("p"))


def test_http_untrusted_certificate_raises_an_error_at_once(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "cert.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        server = threading.Thread(target=accept)
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(StoreError, match=r"cannot be trusted: .*CERTIFICATE_VERIFY_FAILED") as caught:
            HttpStore(url).apply(PromiseGet("p"))
        assert not isinstance(caught.value, StoreUnreachable)
        server.join(PATIENCE)


def self_signed(path: Path) -> Path:
    """Write a certificate and its key into a file."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*pem) + certificate.public_bytes(pem[0]))
    return path
