"""Official SDKs for Python and TypeScript as published, against the development server.

Each SDK has the same workflow. Its worker reserves (`ctx.run`), asks another task for a price (`ctx.rpc`), sleeps,
waits for an approval (`ctx.promise`), detaches an audit (`ctx.detached`) and returns. Each step prints a line when it
runs. A worker that is started with `STUCK` has short leases, and its step that asks for the approval does not end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients.node import NODE, installed, needs_node
from tests.support.clients.official import PROGRAMS, needs_python
from tests.support.environments import Process, Surroundings
from tests.support.hypothesis_settings import in_ci, some

TYPESCRIPT = Path(__file__).parent / "typescript"
RESULT = {"item": "lamp", "price": 42, "approvedBy": "ana"}
STUCK = "stuck"


class Sdk:
    """Programs of an official SDK.

    Args:
        cwd: the directory in which the programs run.
        worker, client: the commands of a worker and a client, to which the URL of the server is added.
    """

    def __init__(self, cwd: Path, worker: list[str | Path], client: list[str | Path]) -> None:
        self._cwd, self._worker, self._client = cwd, worker, client

    def worker(self, server: Surroundings, *options: str) -> Process:
        """Start a worker, and wait until it is ready."""
        process = server.start(*self._worker, server.url, *options, cwd=self._cwd)
        process.line("ready")
        return process

    def client(self, server: Surroundings) -> Process:
        return server.start(*self._client, server.url, "order-lamp", "lamp", cwd=self._cwd)


PYTHON_SDK = pytest.param("python", marks=needs_python)
TYPESCRIPT_SDK = pytest.param("typescript", marks=needs_node)


@pytest.fixture(params=[PYTHON_SDK, TYPESCRIPT_SDK])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    if request.param == "python":
        run = [request.getfixturevalue("python"), "-E", "-P"]
        return Sdk(PROGRAMS, [*run, PROGRAMS / "worker.py"], [*run, PROGRAMS / "client.py"])
    node = [str(NODE), "--import", "./node20.mjs"]
    return Sdk(installed(TYPESCRIPT), [*node, "worker.mjs"], [*node, "client.mjs"])


Serve = Callable[..., Surroundings]


def result_of(client: Process) -> object:
    """Wait for the end of a client. Return what it has printed."""
    assert client.end() == 0, "\n".join(client.lines)
    return json.loads(client.lines[-1])


def test_sdk_workflow_runs_once_for_repeated_calls(surroundings: Serve, sdk: Sdk) -> None:
    server = surroundings()
    worker, client = sdk.worker(server), sdk.client(server)
    approval = worker.line("approve ")
    server.resolve(approval, {"by": "ana"})
    assert result_of(client) == RESULT
    worker.line("audit lamp by ana")

    assert result_of(sdk.client(server)) == RESULT
    ran = [line for line in worker.lines if line != "ready"]
    assert ran == ["reserve lamp", "price 7", f"approve {approval}", "audit lamp by ana"]


@in_ci
@pytest.mark.parametrize("sdk", some([PYTHON_SDK, TYPESCRIPT_SDK], 2), indirect=True)
def test_sdk_workflow_survives_its_worker_while_it_waits(surroundings: Serve, sdk: Sdk) -> None:
    server = surroundings()
    first, client = sdk.worker(server), sdk.client(server)
    approval = first.line("approve ")
    first.kill()

    server.resolve(approval, {"by": "ana"})
    second = sdk.worker(server)
    assert result_of(client) == RESULT
    second.line("audit lamp by ana")
    assert not {"reserve lamp", "price 7"} & set(second.lines)


@in_ci
@pytest.mark.parametrize("sdk", some([TYPESCRIPT_SDK, PYTHON_SDK], 2), indirect=True)
def test_sdk_workflow_survives_its_worker_in_a_step(surroundings: Serve, sdk: Sdk) -> None:
    server = surroundings()
    first, client = sdk.worker(server, STUCK), sdk.client(server)
    approval = first.line("approve ")
    first.kill()

    second = sdk.worker(server)
    assert second.line("approve ") == approval
    server.resolve(approval, {"by": "ana"})
    assert result_of(client) == RESULT
    second.line("audit lamp by ana")
    assert second.lines == ["ready", f"approve {approval}", "audit lamp by ana"]


@pytest.mark.parametrize("sdk", some([PYTHON_SDK, TYPESCRIPT_SDK], 2), indirect=True)
def test_sdk_workflow_survives_the_server(surroundings: Serve, sdk: Sdk, tmp_path: Path) -> None:
    server = surroundings(tmp_path / "promises.db")
    worker, client = sdk.worker(server), sdk.client(server)
    worker.line("price 7")
    server.server.kill()
    server.serve()

    server.resolve(worker.line("approve "), {"by": "ana"})
    assert result_of(sdk.client(server)) == RESULT
    client.kill()
    assert worker.lines.count("reserve lamp") == 1
