"""What type checkers report to users of the programming model: `tests/typing` holds programs and their types.

The programs state the types that they expect, and where they expect an error; an error too many or too few fails.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.hypothesis_settings import in_ci

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "typing"
EXAMPLES = ROOT / "examples"
UNCHECKED = ("durable_sleep", "async_gateway")
"""The first is published line by line; the second uses a library whose types are incomplete."""
MYPY = (f"--config-file={os.devnull}", "--python-version=3.11")
CACHES = ROOT / ".mypy_cache"
"""Where `make lint` has its cache too. A cache holds for the options that it was written with."""


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_types_are_inferred_and_mistakes_are_found() -> None:
    report = json.loads(check("pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(PROGRAMS)).stdout)

    assert report["summary"]["filesAnalyzed"] == len(list(PROGRAMS.glob("*.py"))) > 2
    places = [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1} {each['message']}"
        for each in report["generalDiagnostics"]
    ]
    assert places == []


@in_ci
def test_mypy_infers_the_types_that_pyright_infers() -> None:
    """Run it with the default options of users. `make lint` runs it strictly."""
    checked = check("mypy", *MYPY, f"--cache-dir={CACHES / 'users'}", str(PROGRAMS))

    assert checked.returncode == 0, checked.stdout
    assert str(len(list(PROGRAMS.glob("*.py")))) in checked.stdout


@in_ci
def test_examples_pass_mypy_strict() -> None:
    folders = [str(each) for each in sorted(EXAMPLES.iterdir()) if each.is_dir() and each.name not in UNCHECKED]
    as_packages = ["--namespace-packages", "--explicit-package-bases"]  # several have a module `app`

    checked = check("mypy", *MYPY, f"--cache-dir={CACHES / 'examples'}", "--strict", *as_packages, *folders)

    assert checked.returncode == 0, checked.stdout
