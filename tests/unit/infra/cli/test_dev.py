"""`resonate dev`: what it starts the server with. tests.unit.infra.server.test_process has how the process behaves."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.server.assembly import ServerOptions
from tests.support.command_line import CommandLine
from tests.support.dev_process import started


def test_a_workflow_of_a_lambda_handler_completes_and_ctrl_c_ends_it_without_failure(tmp_path: Path) -> None:
    data = str(tmp_path / "promises.db")
    arguments = ("--port", "0", "--data", data, "--lambda", "worker=functions.worker.app:handler")
    with started(*arguments) as server:
        url = f"http://localhost:{server.api().port}"
        resonate = CommandLine(RESONATE_URL=url)
        ran = resonate.ok("invoke", "hello", "-f", "hello_world", "-a", '"World"', "-t", "worker", "--wait", "-q")
        assert ran.out == '"Hello World!"\n'
        assert server.end(signal.SIGINT) == 0

    assert data in server.lines[0]
    assert server.lines[-1].endswith("stopped")
    assert resonate.run("promises", "get", "hello").code == 7


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServerOptions, str]]:
    """What the server was started with, which it is not."""
    seen: list[tuple[ServerOptions, str]] = []

    def serve(options: ServerOptions, log_level: str) -> int:
        seen.append((options, log_level))
        return 0

    monkeypatch.setattr("resonate_infra.server.process.serve", serve)
    return seen


def test_what_is_not_said_is_as_the_server_has_it(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_AUTH_PUBLIC_KEY=None, RESONATE_AUTH_ISS=None, RESONATE_AUTH_AUD=None).ok("dev")

    assert served == [(ServerOptions(), "info")]


def test_every_option_reaches_the_server(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_AUTH_ISS="issuer").ok(
        *("dev", "--host", "0.0.0.0", "--port", "9", "--url", "http://me", "--table", "t", "--retention", "2h"),
        *("--lambda", "a=b:c", "--lambda", "d=e:f", "--lambda-timeout", "1.5", "--group", "g=https://a.example"),
        *(
            "--push-timeout",
            "3s",
            "--cors",
            "*",
            "--allow-host",
            "box",
            "--auth-public-key",
            "none",
            "--auth-audience",
            "us",
        ),
        *("--debug", "--log-level", "warning"),
    )

    assert served == [
        (
            ServerOptions(
                host="0.0.0.0",
                port=9,
                url="http://me",
                table="t",
                retention=7200,
                lambdas=("a=b:c", "d=e:f"),
                lambda_timeout=1.5,
                groups={"g": "https://a.example"},
                push_timeout=3.0,
                origins=("*",),
                allowed_hosts=("box",),
                debug=True,
                auth_key="none",
                auth_issuer="issuer",
                auth_audience="us",
            ),
            "warning",
        )
    ]


def test_a_table_of_the_environment_is_not_served_by_accident(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_TABLE="production").ok("dev")

    assert served[0][0].table is None


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--port", "65536"), 2, "--port"),
        (("--retention", "0"), 2, "--retention must be longer than nothing"),
        (("--lambda-timeout", "long"), 2, "--lambda-timeout must be a duration"),
        (("--group", "worker"), 2, "--group must be NAME=ADDRESS, got 'worker'"),
        (("--group", "worker=poll"), 2, "--group"),
        (("--cors", "*", "--cors", "example.com"), 2, "--cors names 'example.com': an origin is such as https://"),
        (("--allow-host", "http://foo:3"), 1, "--allow-host names 'http://foo:3': give the name of a host"),
        (("--lambda", "worker"), 1, "'worker' maps no group to a handler"),
        (("--data", "a", "--table", "b"), 1, "promises are kept in a file or in a table: give one of both"),
        (("--auth-public-key", "/no/such/file"), 1, "the public key cannot be used"),
    ],
)
def test_what_is_malformed_is_one_line(arguments: Any, code: int, told: str) -> None:
    ended, line = CommandLine().fails("dev", *arguments)

    assert ended == code
    assert told in line
