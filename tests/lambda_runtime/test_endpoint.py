"""Endpoint for `sam local invoke`: its command, with the events and variables of `events/`."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.endpoint import Endpoint, main
from tests.support.lambda_runtime.emulator import RuntimeEmulator, needs_runtime

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "resonate_infra.testing.endpoint"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([*COMMAND, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            announced = process.stdout.readline()
            found = re.search(r"http://\S+:\d+", announced)
            assert found, f"the endpoint said {announced!r}"
            yield found[0]
        finally:
            process.terminate()


EXPECTED: dict[str, dict[str, Any]] = {
    "worker": {"status": "suspended"},
    "tick": {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True},
    "dispatch": {"batchItemFailures": []},
}


@needs_runtime
def test_functions_answer_their_events_at_the_endpoint(url: str, subtests: pytest.Subtests) -> None:
    variables: dict[str, str] = json.loads((ROOT / "events" / "env.json").read_text())["Parameters"]
    for function, expected in EXPECTED.items():
        with (
            subtests.test(function),
            RuntimeEmulator(
                handler="app.handler",
                directory=ROOT / "functions" / function,
                environment={**variables, "AWS_ENDPOINT_URL": url},
                function_name=f"resonate-{function}",
                timeout_seconds=60,
            ) as emulator,
        ):
            invocation = emulator.invoke(json.loads((ROOT / "events" / f"{function}.json").read_text()))
            assert (invocation.payload, invocation.error_type) == (expected, None)


def test_endpoint_with_a_port_in_use_exits_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == f"cannot listen on 127.0.0.1:{port}: {os.strerror(98)}; choose another --port\n"


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
    for host, reached in (("127.0.0.2", "127.0.0.2"), ("0.0.0.0", "127.0.0.1")):
        with Endpoint(host) as endpoint:
            assert endpoint.url.startswith(f"http://{reached}:")
            assert endpoint.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
