"""`resonate dev`: the options of the server. tests/unit/infra/server/test_process.py tests the process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from resonate_infra.server.assembly import ServerOptions
from tests.support.command_line import CommandLine
from tests.support.dev_process import started


def test_dev_runs_a_lambda_handler_until_ctrl_c(tmp_path: Path) -> None:
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
    """Return the options of servers, which are not started."""
    seen: list[tuple[ServerOptions, str]] = []

    def serve(options: ServerOptions, log_level: str) -> int:
        seen.append((options, log_level))
        return 0

    monkeypatch.setattr("resonate_infra.server.process.serve", serve)
    return seen


def test_dev_without_options_uses_the_defaults_of_the_server(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_AUTH_PUBLIC_KEY=None, RESONATE_AUTH_ISS=None, RESONATE_AUTH_AUD=None).ok("dev")

    assert served == [(ServerOptions(), "info")]


def test_dev_options_reach_the_server(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_AUTH_ISS="issuer").ok(
        *("dev", "--host", "0.0.0.0", "--port", "9", "--url", "http://me", "--table", "t", "--retention", "2h"),
        *(
            "--lambda",
            "a=b:c",
            "--lambda",
            "d=e:f",
            "--lambda-timeout",
            "1.5",
            "--reload",
            "--group",
            "g=https://a.example",
        ),
        *("--push-timeout", "3s", "--cors", "*", "--allow-host", "box"),
        *("--auth-public-key", "none", "--auth-audience", "us"),
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
                reload=True,
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


def test_dev_does_not_serve_a_table_of_the_environment(served: list[tuple[ServerOptions, str]]) -> None:
    CommandLine(RESONATE_TABLE="production").ok("dev")

    assert served[0][0].table is None
