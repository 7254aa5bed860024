"""Packages of a release. `make dist` builds them, and checks them with twine and check-wheel-contents."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from resonate_infra.explanations import PAGES
from tests.support.once import once
from tests.support.present import present

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RELEASE = f"resonate_serverless-{PROJECT['version']}"
PACKAGES = {"resonate": "sdk", "resonate_store": "store", "resonate_infra": "infra"}
"""Packages of the wheel, and the folder of each."""
BUNDLED = ("functions", "template.yaml", *PAGES)
"""What the offline stack deploys, and `resonate explain` reads, if it is installed from a wheel."""
KINDS = {".py", ".typed", ".yaml", ".html", ".css", ".js", ".svg", ".LICENSE", ".md", ".json", ".yml", ".txt", ".ini"}
"""Kinds of files in the packages. `Makefile` has no suffix."""


def build(directory: Path) -> None:
    """Run `make dist` with the environments of these tests."""
    variables = [f"VENV={sys.prefix}", f"DIST={directory}"]
    command = [present(shutil.which("make")), "dist", *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "dist", build)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(dist / f"{RELEASE}-py3-none-any.whl")


@pytest.fixture(scope="module")
def source(dist: Path) -> tarfile.TarFile:
    return tarfile.open(dist / f"{RELEASE}.tar.gz")


def tracked(*places: str) -> set[str]:
    """Return the files below these places that git knows, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if (ROOT / line).exists()}


def test_dist_is_a_wheel_and_a_source_distribution(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {f"{RELEASE}-py3-none-any.whl", f"{RELEASE}.tar.gz"}


def test_wheel_has_the_tracked_files_of_the_packages(wheel: zipfile.ZipFile) -> None:
    metadata = {f"{RELEASE}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    packages = {path.partition("/")[2] for path in tracked(*(f"{home}/{name}" for name, home in PACKAGES.items()))}
    bundled = {f"resonate_infra/bundled/{path}" for path in tracked(*BUNDLED)}

    assert set(wheel.namelist()) == packages | bundled | metadata | {f"{RELEASE}.dist-info/licenses/LICENSE"}
    assert {f"{name}/py.typed" for name in PACKAGES} <= packages
    kinds = {Path(name).suffix or Path(name).name for name in packages | bundled}
    assert kinds <= KINDS | {"Makefile"}
    # The files of a new project have tests. They are its own.
    tests = [name for name in packages if re.search(r"(^|/)(tests?/|test_|conftest)", name)]
    assert {name for name in tests if not name.startswith("resonate_infra/project/")} == set()


def test_wheel_has_the_pages_that_explain_errors(wheel: zipfile.ZipFile) -> None:
    for page in PAGES:
        assert wheel.read(f"resonate_infra/bundled/{page}") == (ROOT / page).read_bytes()


def test_source_distribution_has_what_the_wheel_is_built_from(source: tarfile.TarFile) -> None:
    places = (*PACKAGES.values(), *BUNDLED, "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore")

    assert set(source.getnames()) == {f"{RELEASE}/{path}" for path in (*tracked(*places), "PKG-INFO")}


def test_wheel_describes_the_project(wheel: zipfile.ZipFile) -> None:
    found = message_from_bytes(wheel.read(f"{RELEASE}.dist-info/METADATA"))

    assert (found["Name"], found["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert (found["License-Expression"], found["License-File"]) == ("Apache-2.0", "LICENSE")
    assert found["Requires-Python"] == PROJECT["requires-python"]
    assert set(found.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert b"resonate = resonate_infra.cli.main:main" in wheel.read(f"{RELEASE}.dist-info/entry_points.txt")


def test_readmes_say_how_to_install_before_the_release(subtests: pytest.Subtests) -> None:
    if "Unreleased" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n### ")[0]:
        return  # the package is on PyPI
    installing = [
        path
        for path in (ROOT / "README.md", *sorted((ROOT / "examples").rglob("README.md")))
        if re.search(r"install\s+['`]?resonate-serverless", path.read_text(encoding="utf-8"))
    ]
    assert len(installing) >= 4
    for path in installing:
        with subtests.test(str(path.relative_to(ROOT))):
            said = " ".join(path.read_text(encoding="utf-8").split())
            assert re.search(r"Until version 0\.2 is on PyPI, install it from (a|the) clone", said)


def test_changelog_begins_with_the_version_of_the_project() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} - (Unreleased|\d{{4}}-\d\d-\d\d)", headings[0])
