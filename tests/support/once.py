"""What takes long to make, made once for all processes of a test run, or for all runs with the same sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = (
    "sdk",
    "store",
    "infra",
    "functions",
    "template.yaml",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)
"""What the wheel is built from."""


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory of this run that `make` has filled, in whichever process asked for it first.

    Args:
        factory: the one that pytest gives to fixtures.
        name: the name of the directory, one for each thing that is made.
        make: fills the directory, which exists and is empty; an error leaves it to the next process that asks.
    """
    of_this_process = factory.getbasetemp()
    of_the_run = of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process
    directory, done = of_the_run / name, of_the_run / f"{name}.done"
    with (of_the_run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            directory.mkdir(exist_ok=True)
            make(directory)
            done.touch()
    return directory


def kept(factory: pytest.TempPathFactory, name: str, sources: Iterable[str], make: Callable[[Path], object]) -> Path:
    """Return a directory that `make` has filled, in this run or in an earlier one with the same sources.

    With `RESONATE_CI` each run makes it. `make clean` deletes it.

    Args:
        factory: the one that pytest gives to fixtures.
        name: the name of the directory, one for each thing that is made.
        sources: the files and folders of the project that it is made from.
        make: fills the directory, which exists and is empty.
    """
    directory = ROOT / "build" / "tests" / name

    def renew(_: Path) -> None:
        stamp, digest = directory.with_name(f"{name}.sources"), _digest(sources)
        if "RESONATE_CI" not in os.environ and stamp.exists() and stamp.read_text() == digest:
            return
        stamp.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        make(directory)
        stamp.write_text(digest)

    once(factory, f"{name}-renewed", renew)
    return directory


def _digest(sources: Iterable[str]) -> str:
    """Return a digest of the names and contents of sources, and of the installations of this environment."""
    digest = hashlib.sha256()
    for stamp in sorted([*Path(sys.prefix).glob("*stamp"), *Path(sys.prefix).glob("*/stamp")]):
        digest.update(f"{stamp}\0{stamp.stat().st_mtime_ns}\0".encode())
    for place in (ROOT / each for each in sources):
        for path in sorted([place, *place.rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
