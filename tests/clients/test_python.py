"""The official Python SDK against the development server.

Its package has the name of ours, so it lives in an environment of its own, which its Python 3.12 makes.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import scenarios
from tests.clients.surroundings import ROOT, Surroundings

HERE = Path(__file__).parent / "python"
REQUIREMENTS = ["resonate-sdk>=0.8.1,<0.9", "resonate-sdk-aws>=0.8.0,<0.9"]


def interpreter() -> str | None:
    """A Python that the SDK runs on: this one, one on the path, or one that pyenv keeps."""
    if sys.version_info >= (3, 12):
        return sys.executable
    for minor in (12, 13):
        if found := shutil.which(f"python3.{minor}"):
            works = subprocess.run([found, "--version"], capture_output=True, check=False)
            if works.returncode == 0:
                return found
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(each) for minor in (12, 13) for each in sorted(kept.glob(f"3.{minor}*/bin/python"))), None)


PYTHON = interpreter()
pytestmark = pytest.mark.skipif(PYTHON is None, reason="there is no Python 3.12 or later here")


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment with the SDK, made once for all processes of the test run."""
    home = ROOT / "build" / "official-python"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = home / "requirements.txt"
        if not stamp.exists() or stamp.read_text() != "\n".join(REQUIREMENTS):
            subprocess.run([str(PYTHON), "-m", "venv", "--clear", home / "venv"], check=True, capture_output=True)
            install = [home / "venv/bin/python", "-m", "pip", "install", "--quiet", *REQUIREMENTS]
            subprocess.run(install, check=True, capture_output=True)
            stamp.write_text("\n".join(REQUIREMENTS))
    return home / "venv/bin/python"


@pytest.fixture
def worker(python: Path) -> scenarios.Command:
    return lambda url: [python, "-I", HERE / "worker.py", url]


@pytest.fixture
def client(python: Path) -> scenarios.Command:
    return lambda url: [python, "-I", HERE / "client.py", url, "order-lamp", "lamp"]


def test_a_workflow_completes(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command
) -> None:
    scenarios.completes(surroundings(), worker, client, HERE)


def test_a_workflow_survives_its_worker(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command
) -> None:
    scenarios.survives_its_worker(surroundings(), worker, client, HERE)


def test_a_workflow_survives_the_server(
    surroundings: Callable[..., Surroundings], worker: scenarios.Command, client: scenarios.Command, tmp_path: Path
) -> None:
    scenarios.survives_the_server(surroundings(tmp_path / "promises.db"), worker, client, HERE)
