"""Corpus and command line of the conformance runner, over the development server and HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import urllib3

from resonate_infra.conformance.__main__ import main
from resonate_infra.conformance.reading import corpus
from resonate_infra.server.assembly import Server, ServerOptions
from tests.support.corpus import SCRIPTS
from tests.support.server_api import Api

FAILING = """
- title: nobody is there
  covers: [1.5 promise.get]
  steps:
    - promise.get: {id: nobody}
      404: Promise not found
- title: somebody is there
  covers: [1.5 promise.get]
  steps:
    - promise.get: {id: nobody}
      200: <any>
"""


@pytest.fixture
def failing(tmp_path: Path) -> str:
    path = tmp_path / "failing.yaml"
    path.write_text(FAILING)
    return str(path)


@pytest.fixture
def url() -> Iterator[str]:
    with Server(ServerOptions(port=0)).running() as server:
        yield f"http://localhost:{server.port}"


def test_development_server_conforms_in_the_time_of_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    driven = [script for script in SCRIPTS if script.debug is not False]
    with Server(ServerOptions(port=0, debug=True, data=str(tmp_path / "promises.db"))).running() as server:
        code = main([f"http://localhost:{server.port}", "--debug"])
        left = Api(f"http://localhost:{server.port}").ask("debug.snap")

    out = capsys.readouterr().out
    assert code == 0, out
    assert out.startswith(f"{len(driven)} passed, 0 failed, ")
    assert left["promises"] == []


def test_development_server_conforms_in_its_own_time(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [script for script in SCRIPTS if script.debug is not True]

    assert main([url]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{len(asked)} passed, 0 failed, ")


def test_conformance_run_does_not_meet_records_of_the_run_before(url: str) -> None:
    (promises,) = (str(path) for path in corpus() if path.stem == "promises")

    assert [main([url, promises]), main([url, promises])] == [0, 0]


def test_conformance_failures_are_shown(url: str, failing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url, failing, "--verbose"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "failing.yaml:2: nobody is there: passed",
        'failing.yaml:10: \'somebody is there\', step 1, promise.get {"id": "nobody"}',
        "    status: expected 200, found 404",
        '    in {"status": 404, "data": "Promise not found"}',
        "1 passed, 1 failed",
    ]


def test_conformance_token_is_sent_to_the_server(failing: str, capsys: pytest.CaptureFixture[str]) -> None:
    token = jwt.encode({"exp": 2**40, "role": "admin"}, "k" * 32, algorithm="HS256")
    with Server(ServerOptions(port=0, auth_key="none")).running() as server:
        url = f"http://localhost:{server.port}"
        assert [main([url, failing]), main([url, failing, "--token", token])] == [1, 1]

    out = capsys.readouterr().out
    assert "0 passed, 2 failed" in out
    assert out.splitlines()[-1] == "1 passed, 1 failed"


def test_conformance_with_debug_needs_a_server_with_debugging(
    url: str, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([url, failing, "--debug"]) == 2
    assert "debug.reset: the server is not to be driven" in capsys.readouterr().err


def test_conformance_without_server_or_scripts_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        unheard = f"http://localhost:{taken.getsockname()[1]}"
        assert [main([unheard]), main([unheard, str(tmp_path / "none.yaml")])] == [2, 2]

    err = capsys.readouterr().err.splitlines()
    assert "cannot be asked" in err[0]
    assert "none.yaml" in err[-1]


def test_conformance_requests_are_signed_with_iam(
    url: str, failing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "eu-west-1")):
        monkeypatch.setenv(name, value)
    authorizations: list[str | None] = []
    request = urllib3.PoolManager.request

    def noting(pool: urllib3.PoolManager, method: str, address: str, **arguments: Any) -> Any:
        authorizations.append(arguments["headers"].get("Authorization"))
        return request(pool, method, address, **arguments)

    monkeypatch.setattr(urllib3.PoolManager, "request", noting)
    assert [main([url, failing]), main([url, failing, "--iam"])] == [1, 1]

    plain, signed = authorizations[:2], authorizations[2:]
    assert plain == [None, None]
    assert all(each is not None and "AKID/" in each and "/execute-api/aws4_request" in each for each in signed)

    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert main([url, failing, "--iam"]) == 2
    assert "set AWS_REGION" in capsys.readouterr().err
    assert main(["localhost:x y"]) == 2
    assert "must be an address" in capsys.readouterr().err
