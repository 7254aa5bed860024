"""The official Python SDK against the development server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import scenarios
from tests.support.clients.official import PROGRAMS, needs_python
from tests.support.environments import Surroundings

pytestmark = needs_python


@pytest.fixture
def worker(python: Path) -> scenarios.Command:
    return lambda url: [python, "-E", "-P", PROGRAMS / "worker.py", url]


@pytest.fixture
def client(python: Path) -> scenarios.Command:
    return lambda url: [python, "-E", "-P", PROGRAMS / "client.py", url, "order-lamp", "lamp"]


def test_a_workflow_completes(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command
) -> None:
    scenarios.completes(surroundings(), worker, client, PROGRAMS)


def test_a_workflow_survives_its_worker(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command
) -> None:
    scenarios.survives_its_worker(surroundings(), worker, client, PROGRAMS)


def test_a_workflow_survives_its_worker_in_a_step(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command
) -> None:
    scenarios.survives_its_worker_in_a_step(surroundings(), worker, client, PROGRAMS)


def test_a_workflow_survives_the_server(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command, tmp_path: Path
) -> None:
    scenarios.survives_the_server(surroundings(tmp_path / "promises.db"), worker, client, PROGRAMS)
