"""Imports point one way: functions -> infra -> sdk -> store; and the base install needs no AWS library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

DIRECTORIES = {
    "resonate_store": ROOT / "store" / "resonate_store",
    "resonate": ROOT / "sdk" / "resonate",
    "resonate_infra": ROOT / "infra" / "resonate_infra",
    "functions": ROOT / "functions",
}

ALLOWED: dict[str, set[str]] = {
    "resonate_store": set(),
    "resonate": {"resonate_store"},
    "resonate_infra": {"resonate", "resonate_store"},
    "functions": {"resonate", "resonate_infra", "resonate_store"},
}

# Each costs a cold start tens of milliseconds, or is not in the base install at all.
HEAVY = ("aws_lambda_powertools", "boto3", "botocore", "chalice", "croniter", "cryptography", "jwt", "moto", "pynamodb")


def imported_packages(module: Path) -> Iterator[tuple[int, str]]:
    """The top-level packages a module names, wherever in it the import stands, with their lines."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"), filename=str(module))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


@pytest.mark.parametrize("package", DIRECTORIES)
def test_imports_point_one_way(package: str) -> None:
    modules = sorted(DIRECTORIES[package].rglob("*.py"))
    assert any(module.read_text(encoding="utf-8").strip() for module in modules), f"{package} is empty"

    forbidden = (DIRECTORIES.keys() | {"benchmarks", "examples", "tests"}) - ALLOWED[package] - {package}
    offences = [
        f"{module.relative_to(ROOT)}:{line} imports {imported}"
        for module in modules
        for line, imported in imported_packages(module)
        if imported in forbidden
    ]

    assert offences == []


@pytest.mark.parametrize("package", ["resonate", "resonate_store"])
def test_importing_loads_no_heavy_library(package: str) -> None:
    script = f"import sys, {package}; print(*sorted(sys.modules.keys() & set({HEAVY!r})))"

    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (completed.returncode, completed.stderr, completed.stdout.split()) == (0, "", [])
