"""The official TypeScript SDK against the development server: real Node processes, the package as it is published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import scenarios
from tests.support.clients.node import NODE, installed, needs_node
from tests.support.environments import Surroundings

HERE = Path(__file__).parent / "typescript"
pytestmark = needs_node


@pytest.fixture(scope="session")
def packages() -> Path:
    """The directory with the SDK installed."""
    return installed(HERE)


def worker(url: str) -> list[str | Path]:
    return [str(NODE), "--import", "./node20.mjs", "worker.mjs", url]


def client(url: str) -> list[str | Path]:
    return [str(NODE), "--import", "./node20.mjs", "client.mjs", url, "order-lamp", "lamp"]


def test_a_workflow_completes(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    scenarios.completes(surroundings(), worker, client, packages)


def test_a_workflow_survives_its_worker(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    scenarios.survives_its_worker(surroundings(), worker, client, packages)


def test_a_workflow_survives_its_worker_in_a_step(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    scenarios.survives_its_worker_in_a_step(surroundings(), worker, client, packages)


def test_a_workflow_survives_the_server(
    surroundings: Callable[..., Surroundings], packages: Path, tmp_path: Path
) -> None:
    scenarios.survives_the_server(surroundings(tmp_path / "promises.db"), worker, client, packages)
