"""Time and size of `pip install` of each extra, on each interpreter that is installed.

    python benchmarks/installs.py [--check] [--extra NAME ...] [--python VERSION ...] [--wheel FILE]

Each extra is installed from the wheel into a new environment, `pip check` runs, and a small program uses the extra. The
extra `base` means none. `project-worker` and `project-api` run the commands of the README that `resonate init` writes.
With `--check` the exit code is 1 if one of these fails, or if an interpreter is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSIONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
BASE = "base"
PROJECTS = {"project-worker": "worker", "project-api": "api"}
"""The templates of new projects."""
EXTRAS = (BASE, *PROJECT["optional-dependencies"], *PROJECTS)
WORKFLOW = """
from resonate import Context, Resonate
resonate = Resonate.local()
@resonate.register
def greet(ctx: Context, name: str):
    return (yield ctx.run(lambda _: f"Hello {name}!"))
assert resonate.run("greet-1", greet, "World") == "Hello World!"
resonate.stop()
"""
USES = {
    BASE: WORKFLOW,
    "aws": "import boto3, resonate_store.dynamo.store, resonate_store.dynamo.models, resonate.aws_lambda.handler",
    "api": "import chalice, jwt, resonate_infra.authentication, resonate_infra.deployed.wiring",
    "cli": "from resonate_infra.cli.main import main; main(['--version'])",
    "crypto": "from resonate.encryption import AESGCMEncryptor; AESGCMEncryptor({'a': bytes(32)}, key_id='a')",
    "otel": "import opentelemetry.sdk.trace, resonate.tracing",
    "testing": "import moto, samtranslator; from resonate.testing import MemoryStack; MemoryStack",
}
"""A program for each extra of users. The remaining extras are tools, and only need to be consistent."""


class Install(NamedTuple):
    """Result of an installation."""

    python: str
    extra: str
    packages: int
    megabytes: float
    seconds: float
    fault: str


def interpreters(wanted: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each wanted version with its interpreter, on the path or of pyenv. The interpreter is None if missing."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for version in wanted:
        found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        yield version, next((str(each) for each in found if each and _runs(str(each), version)), None)


def _runs(python: str, version: str) -> bool:
    """Return whether an interpreter has this version. A shim of pyenv may not run at all."""
    line = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", line], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def install(version: str, python: str, wheel: Path, extra: str) -> Install:
    """Install an extra into a new environment, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        bare = next(Path(folder).rglob("site-packages"))
        before = set(bare.glob("*.dist-info"))
        run = [str(Path(folder, "Scripts", "python") if os.name == "nt" else Path(folder, "bin", "python"))]
        named = "cli" if extra in PROJECTS else extra
        wanted = str(wheel) if extra == BASE else f"{wheel}[{named}]"
        begun = time.perf_counter()
        pip = [*run, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        fault = _fault([*pip, "install", wanted])
        seconds = time.perf_counter() - begun
        if extra in PROJECTS:
            fault = fault or _project(run, pip, Path(folder, "project"), wheel, PROJECTS[extra])
        fault = fault or _fault([*pip, "check"]) or _fault([*run, "-c", USES.get(extra, "")])
        added = set(bare.glob("*.dist-info")) - before
        size = sum(each.stat().st_size for each in bare.rglob("*") if each.is_file() and "/pip" not in each.as_posix())
        return Install(version, extra, len(added), round(size / 1e6, 1), round(seconds, 1), fault)


def _project(run: list[str], pip: list[str], project: Path, wheel: Path, template: str) -> str:
    """Write a new project and run the commands of its README. Return the last line of the first one that fails."""
    resonate = [*run, "-m", "resonate_infra.cli"]
    requirements = ["install", "--find-links", str(wheel.parent), "--requirement", "requirements-dev.txt"]
    return (
        _fault([*resonate, "init", str(project), "--template", template])
        or _fault([*pip, *requirements], project)
        or _fault([*run, "-m", "pytest", "--quiet"], project)
        or _fault([*resonate, "lint", "."], project)
    )


def _fault(command: list[str], folder: Path | None = None) -> str:
    """Return the last line of a command that fails. The result is empty if it succeeds."""
    done = subprocess.run(command, cwd=folder or tempfile.gettempdir(), capture_output=True, text=True, check=False)
    said = (done.stderr + done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    return said[-1] if done.returncode else ""


def built(folder: str) -> Path:
    """Build the wheel into a folder."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--wheel-dir", folder, str(ROOT)], check=True)
    return next(Path(folder).glob("*.whl"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--extra", nargs="*", choices=EXTRAS, default=list(EXTRAS))
    parser.add_argument("--python", nargs="*", choices=VERSIONS, default=list(VERSIONS))
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    failed = False
    print(f"{'python':<8}{'extra':<14}{'packages':>8}{'MB':>8}{'seconds':>9}  result")
    with tempfile.TemporaryDirectory() as folder:
        wheel = given.wheel.resolve() if given.wheel else built(folder)
        for version, python in interpreters(given.python):
            if python is None:
                failed = True
                print(f"{version:<8}is not installed")
                continue
            for extra in given.extra:
                done = install(version, python, wheel, extra)
                failed = failed or bool(done.fault)
                print(
                    f"{done.python:<8}{done.extra:<14}{done.packages:>8}{done.megabytes:>8}{done.seconds:>9}"
                    f"  {done.fault or 'ok'}",
                    flush=True,
                )
    return int(given.check and failed)


if __name__ == "__main__":
    sys.exit(main())
