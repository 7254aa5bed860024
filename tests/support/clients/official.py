"""An environment for the official Python SDK, whose package has the name of ours; its Python 3.12 makes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environments import ROOT

REQUIREMENTS = ["resonate-sdk>=0.8.1,<0.9", "resonate-sdk-aws>=0.8.0,<0.9"]
PROGRAMS = ROOT / "tests" / "clients" / "python"


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
needs_python = pytest.mark.skipif(PYTHON is None, reason="there is no Python 3.12 or later here")


def environment() -> Path:
    """The interpreter of an environment with the SDK, made once for all processes of all test runs.

    Programs are run with -E: a PYTHONPATH that leads to our package must not lead them there.
    """
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
