"""Output of `sam build` for template.yaml: small, complete, without the packages of Lambda.

The functions run from the built artefacts, in the real runtime. Their path has only the folder of the function, the
layer, and the packages of Lambda. It has neither site-packages nor the source tree.
"""

import base64
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support.hypothesis_settings import in_ci
from tests.support.lambda_runtime.emulator import RuntimeEmulator, needs_runtime
from tests.support.lambda_runtime.events import WORKFLOW, event
from tests.support.lambda_runtime.stack import ROOT, RuntimeStack
from tests.support.once import PACKAGE, kept
from tests.support.present import present

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64"}[platform.machine()]
FUNCTIONS = ("WorkerFunction", "DispatchFunction", "TickFunction", "ApiFunction")
# Packages of the Python runtime of Lambda. The layer has six and dateutil too, because croniter needs them.
AWS = ("boto3", "botocore", "s3transfer")
PROVIDED = (*AWS, "awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
UNWANTED = {"boto3", "botocore", "s3transfer", "pip", "setuptools", "wheel", "inquirer", "moto", "pytest"}
SOURCES = (*PACKAGE, "layer", "constraints")
MEGABYTES = 15
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def make(
    makefile: str, target: str, artifacts: Path, environment: dict[str, str], *variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one target of the build as SAM does."""
    make = present(shutil.which("make"))
    return subprocess.run(
        [make, "--file", makefile, target, f"ARTIFACTS_DIR={artifacts}", f"PYTHON={sys.executable}", *variables],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def build(directory: Path) -> None:
    """Run `sam build` for this machine and this interpreter."""
    sam = Path(sys.prefix, "tools", "bin", "sam")
    overrides = ["--parameter-overrides", f"Architecture={MACHINE}"]
    subprocess.run(
        [sam, "build", "--template", ROOT / "template.yaml", "--build-dir", directory, *overrides],
        cwd=ROOT,
        env={
            **os.environ,
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHON": sys.executable,
            "LAYER_PYTHON": VERSION,
            "LAYER_ARCHITECTURE": MACHINE,
        },
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory, "sam-build", SOURCES, build)


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layer for the default architecture of the template."""

    def build(directory: Path) -> None:
        make("layer/Makefile", "build-DependenciesLayer", directory, {})

    return kept(tmp_path_factory, "layer-arm64", SOURCES, build) / "python"


@pytest.fixture(scope="module")
def stack(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["BuiltStack"]:
    with BuiltStack(built, provided(tmp_path_factory.mktemp("runtime"), *PROVIDED)) as stack:
        yield stack


def provided(directory: Path, *modules: str) -> Path:
    """Return a folder with only these modules and packages of this environment."""
    for name in modules:
        spec = find_spec(name)
        assert spec is not None, f"{name} is missing"
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (directory / source.name).symlink_to(source)
    return directory


class BuiltStack(RuntimeStack):
    """Stack whose functions run from the built artefacts."""

    def __init__(self, built: Path, provided: Path) -> None:
        super().__init__()
        self._built = built
        self._provided = provided

    def function(self, logical_id: str) -> RuntimeEmulator:
        if logical_id not in self._functions:
            path = [self._built / logical_id, self._built / "DependenciesLayer" / "python", self._provided]
            self._functions[logical_id] = self.start(
                logical_id,
                directory=self._built / logical_id,
                environment={"PYTHONPATH": os.pathsep.join(map(str, path))},
                # Without `site`, nothing of this environment is importable but the standard library.
                interpreter=(sys.executable, "-S"),
            )
        return self._functions[logical_id]

    def ask(self, kind: str, **data: Any) -> Any:
        """Send a request to the API as API Gateway does. Return the data of its response."""
        body = {"kind": kind, "head": {"corrId": "1", "version": "2026-04-01"}, "data": data}
        response = self.function("ApiFunction").invoke({**event("api.json"), "body": json.dumps(body)}).payload
        assert response["statusCode"] == 200, response
        return json.loads(response["body"])["data"]


# --- In the runtime

EXPECTED = {
    "api.json": ("ApiFunction", {"statusCode": 200}),
    "dispatch-push.json": ("DispatchFunction", {"batchItemFailures": []}),
    "dispatch.json": ("DispatchFunction", {"batchItemFailures": []}),
    "tick-queue.json": ("TickFunction", {"batchItemFailures": []}),
    "tick-schedule.json": ("TickFunction", {"kind": "schedule", "status": 404}),
    "tick-timer.json": ("TickFunction", {"kind": "timer", "status": 200}),
    "tick.json": ("TickFunction", {"kind": "sweep", "failed": 0, "finished": True}),
    "worker-url.json": ("WorkerFunction", {"statusCode": 200, "body": '{"status":"suspended"}'}),
    "worker.json": ("WorkerFunction", {"status": "suspended"}),
}
"""Function and expected fields of the response for each event, after the workflow of the events has begun."""


@needs_runtime
def test_built_functions_answer_the_events(stack: BuiltStack, subtests: pytest.Subtests) -> None:
    assert {path.name for path in (ROOT / "events").glob("*.json")} == {*EXPECTED, "env.json"}
    assert {function for function, _ in EXPECTED.values()} == set(FUNCTIONS)
    for name, (function, expected) in EXPECTED.items():
        stack.redeploy()
        stack.client().begin_rpc(WORKFLOW, "sleeping_workflow", WORKFLOW, 5.0)
        if not name.startswith("worker"):
            assert stack.function("WorkerFunction").invoke(event("worker.json")).payload == {"status": "suspended"}
        sent = event(name)
        if name == "dispatch-push.json":
            # The pushes must stay on this machine.
            sent = json.loads(re.sub(r"https://\w+\.example\.com", stack.endpoint.url, json.dumps(sent)))
        with subtests.test(name):
            invocation = stack.function(function).invoke(sent)
            assert invocation.error_type is None, invocation
            assert {key: invocation.payload[key] for key in expected} == expected


@needs_runtime
def test_built_functions_run_a_workflow_to_its_result(stack: BuiltStack) -> None:
    stack.redeploy()
    call = json.dumps({"func": "sleeping_workflow", "args": ["w", 1.2], "kwargs": {}, "version": 1})
    param = {"data": base64.b64encode(call.encode()).decode()}
    created = stack.ask(
        "promise.create", id="w", timeoutAt=2**48, param=param, tags={"resonate:target": "poll://any@worker"}
    )
    assert created["promise"]["state"] == "pending"

    stack.work(lambda: not stack.record("w").pending, within=60)

    promise = stack.ask("promise.get", id="w")["promise"]
    assert promise["state"] == "resolved"
    assert base64.b64decode(promise["value"]["data"]) == b'"Workflow w completed after sleeping for 1.2 seconds."'
    sleep = stack.ask("promise.get", id="w.1")["promise"]
    assert promise["settledAt"] >= sleep["timeoutAt"] >= promise["createdAt"] + 1200


@pytest.mark.skipif(sys.platform != "linux", reason="the layer has packages for Linux")
def test_packages_of_the_layer_import_from_it_alone(built: Path, tmp_path: Path) -> None:
    ours = "resonate, resonate_store.dynamo, resonate_store.model.cron, resonate_infra.deployed.wiring"
    theirs = "aws_lambda_powertools.event_handler, chalice, cryptography.fernet, jwt"
    layer = built / "DependenciesLayer" / "python"

    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import {ours}, {theirs}; print(resonate.__file__)"],
        env={"PYTHONPATH": os.pathsep.join([str(layer), str(provided(tmp_path, *AWS))])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stderr, done.stdout) == ("", f"{layer}/resonate/__init__.py\n")


# --- Contents


def packages(layer: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info").rpartition("-")[0].lower() for path in layer.glob("*.dist-info")}


def test_layer_omits_packages_of_lambda_and_of_builds(built: Path) -> None:
    layer = built / "DependenciesLayer" / "python"

    assert packages(layer) & UNWANTED == set()
    assert {path.name for path in layer.iterdir()} & UNWANTED == set()


@in_ci
def test_bill_of_materials_lists_the_packages_of_the_layer(built: Path, tmp_path: Path) -> None:
    layer, written = built / "DependenciesLayer" / "python", tmp_path / "layer.cdx.json"
    variables = (f"VENV={sys.prefix}", f"LAYER={layer}", f"SBOM={written}", f"SBOM_BUILD={tmp_path}/build")
    make("Makefile", "sbom", tmp_path, {}, *variables)
    bill = json.loads(written.read_text())
    ours = bill["metadata"]["component"]
    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}
    pinned = {name: str(version).removeprefix("==") for name, version in specifiers("layer/requirements.txt").items()}

    assert (bill["bomFormat"], bill["specVersion"], ours["name"]) == ("CycloneDX", "1.6", PROJECT["name"])
    assert ours["version"] == PROJECT["version"]
    assert listed == pinned
    assert {canonicalize_name(name) for name in packages(layer)} == {*listed, PROJECT["name"]}
    assert [each["name"] for each in bill["components"] if not each.get("licenses")] == []


@in_ci
def test_layer_and_functions_are_small_zipped_together(built: Path, tmp_path: Path) -> None:
    archives = [
        Path(shutil.make_archive(str(tmp_path / name), "zip", built / name))
        for name in ("DependenciesLayer", *FUNCTIONS)
    ]

    assert sum(archive.stat().st_size for archive in archives) < MEGABYTES * 1_000_000


def test_bytecode_is_not_checked_against_its_sources(built: Path) -> None:
    folders = [built / "DependenciesLayer" / "python", *(built / name for name in FUNCTIONS)]
    sources = {path for folder in folders for path in folder.rglob("*.py")}
    compiled = {path for folder in folders for path in folder.rglob("*.pyc")}

    assert len(compiled) == len(sources)
    # PEP 552: the second word has the flags 1 ("by hash") and 2 ("check it").
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\0\0\0"}


@in_ci
def test_layer_for_another_machine_has_only_wheels_for_it(arm64: Path) -> None:
    tags = {
        tag
        for wheel in arm64.glob("*.dist-info/WHEEL")
        for tag in re.findall(r"^Tag: (\S+)$", wheel.read_text(), re.MULTILINE)
    }
    native = {tag for tag in tags if not tag.endswith("-none-any")}

    assert native, "msgspec and cryptography have extension modules"
    assert all(re.fullmatch(r"cp313-cp313-many.*_aarch64|cp3\d+-abi3-many.*_aarch64", tag) for tag in native), native
    suffixes = {path.name.partition(".")[2] for path in arm64.rglob("*.so")}
    assert suffixes <= {"cpython-313-aarch64-linux-gnu.so", "abi3.so"}


def test_build_without_the_python_of_the_runtime_omits_bytecode(tmp_path: Path) -> None:
    path, artifacts = tmp_path / "bin", tmp_path / "artifacts"
    path.mkdir()
    artifacts.mkdir()
    for tool in ("sh", "cp", "find", "rm"):
        (path / tool).symlink_to(present(shutil.which(tool)))
    other = "3.12" if VERSION == "3.13" else "3.13"

    done = make(
        "functions/worker/Makefile", "build-WorkerFunction", artifacts, {"PATH": str(path)}, f"LAYER_PYTHON={other}"
    )

    assert f"no Python {other} found" in done.stderr
    assert [found.name for found in artifacts.rglob("*") if found.suffix == ".pyc"] == []
    assert (artifacts / "app.py").exists()


def specifiers(path: str) -> dict[str, SpecifierSet]:
    """Return the requirements of a file by name, without comments, hashes and markers."""
    lines = re.findall(r"^[a-z].*?(?=\s*[\\;]|$)", (ROOT / path).read_text(), re.MULTILINE)
    return {each.name: each.specifier for each in map(Requirement, lines)}


def test_layer_packages_are_exact_versions_with_hashes() -> None:
    text = (ROOT / "layer" / "requirements.txt").read_text()
    exact, tested, wanted = map(specifiers, ("layer/requirements.txt", "constraints/main.txt", "layer/requirements.in"))

    assert exact == {name: tested[name] for name in wanted}
    assert all(wanted[name].contains(str(version).removeprefix("==")) for name, version in exact.items())
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:])


def test_constraints_are_exact_versions_without_addresses() -> None:
    for name in ("main", "sam", "checkov", "release"):
        lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()
        assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][^ :/]*( ; .+)?", line) for line in lines)


def requirements(*extras: str) -> dict[str, SpecifierSet]:
    """Return the requirements of pyproject.toml and of these extras, by name."""
    listed = chain(PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras))
    return {each.name: each.specifier for each in map(Requirement, listed) if each.name != PROJECT["name"]}


def test_requirements_have_an_upper_bound() -> None:
    found = requirements(*PROJECT["optional-dependencies"])

    assert [name for name, specifier in found.items() if not re.search("<|==", str(specifier))] == []


def test_constraints_name_a_version_of_each_requirement(subtests: pytest.Subtests) -> None:
    own = {name: [name] for name in ("sam", "checkov", "release")}
    for name, extras in {"main": ["api", "cli", "dev"], **own}.items():
        exact, wanted = specifiers(f"constraints/{name}.txt"), requirements(*extras)
        if name != "main":
            wanted = {extra: wanted[extra] for extra in wanted.keys() - requirements().keys()}
        with subtests.test(name):
            assert [each for each in wanted if not wanted[each].contains(str(exact[each]).removeprefix("=="))] == []


def test_extra_of_workers_omits_the_packages_of_the_api() -> None:
    assert not {"chalice", "pyjwt"} & requirements("aws").keys()
    assert {"chalice", "pyjwt"} <= requirements("api").keys()


def test_wheels_are_ignored_and_none_is_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.whl"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert tracked.stdout == ""
    assert "*.whl" in (ROOT / ".gitignore").read_text().splitlines()


def test_layer_requirements_agree_with_pyproject() -> None:
    listed = specifiers("layer/requirements.in")
    declared = requirements("aws", "api")

    # Lambda has boto3, and no function uses the PynamoDB models.
    assert declared.keys() - listed.keys() == {"boto3", "pynamodb"}
    assert listed.items() >= {(name, specifier) for name, specifier in declared.items() if name in listed}
