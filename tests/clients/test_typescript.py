"""The official TypeScript SDK against the development server: real Node processes, the package as it is published."""

import fcntl
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import scenarios
from tests.clients.surroundings import Surroundings

HERE = Path(__file__).parent / "typescript"
NODE = shutil.which("node")
NPM = shutil.which("npm")

pytestmark = pytest.mark.skipif(not (NODE and NPM), reason="Node and npm are not installed")


@pytest.fixture(scope="session")
def packages() -> Path:
    """The directory with the SDK installed, once for all processes of the test run."""
    with (HERE / "node_modules.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = HERE / "node_modules" / ".package-lock.json"
        if not stamp.exists() or stamp.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
            subprocess.run([str(NPM), "ci"], cwd=HERE, check=True, capture_output=True)
            stamp.touch()
    return HERE


def worker(url: str) -> list[str | Path]:
    return [str(NODE), "--import", "./node20.mjs", "worker.mjs", url]


def client(url: str) -> list[str | Path]:
    return [str(NODE), "--import", "./node20.mjs", "client.mjs", url, "order-lamp", "lamp"]


def test_a_workflow_completes(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    scenarios.completes(surroundings(), worker, client, packages)


def test_a_workflow_survives_its_worker(surroundings: Callable[..., Surroundings], packages: Path) -> None:
    scenarios.survives_its_worker(surroundings(), worker, client, packages)


def test_a_workflow_survives_the_server(
    surroundings: Callable[..., Surroundings], packages: Path, tmp_path: Path
) -> None:
    scenarios.survives_the_server(surroundings(tmp_path / "promises.db"), worker, client, packages)
