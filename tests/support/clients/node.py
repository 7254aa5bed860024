"""Node, and the packages of the Node projects among the tests."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
NPM = shutil.which("npm")
needs_node = pytest.mark.skipif(not (NODE and NPM), reason="Node and npm are not installed")


def installed(directory: Path) -> Path:
    """A directory with a package-lock.json, when what that lists is installed: once for all processes of a test run."""
    with (directory / "node_modules.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = directory / "node_modules" / ".package-lock.json"
        if not stamp.exists() or stamp.stat().st_mtime < (directory / "package-lock.json").stat().st_mtime:
            subprocess.run([str(NPM), "ci"], cwd=directory, check=True, capture_output=True)
            stamp.touch()
    return directory
