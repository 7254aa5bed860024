"""Addresses of the offline endpoint. tests/lambda_runtime/test_endpoint.py runs functions against it."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from resonate_infra.testing.endpoint import Endpoint, main


def test_endpoint_with_a_port_in_use_exits_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1

    error = f"cannot listen on 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; choose another --port\n"
    assert capsys.readouterr().err == error


def test_endpoint_names_the_option_it_cannot_listen_with(capsys: pytest.CaptureFixture[str]) -> None:
    for host, port, option in (
        ("no.such.host.invalid", 0, "--host"),
        ("192.0.2.1", 0, "--host"),
        ("a..b", 0, "--host"),
        ("", 65536, "--port"),
    ):
        assert main(["--host", host, "--port", str(port)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"cannot listen on {host}:{port}: ")
        assert error.endswith(f"; choose another {option}\n")


def test_endpoint_is_reached_where_it_listens() -> None:
    own = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"  # macOS has only one loopback address
    for host, reached in ((own, own), ("0.0.0.0", "127.0.0.1")):
        with Endpoint(host) as endpoint:
            assert endpoint.url.startswith(f"http://{reached}:")
            assert endpoint.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
