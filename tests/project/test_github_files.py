"""Files that GitHub reads, and those of a new project: their schemas, their actions, and what their commands name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
COMMON = ROOT / "infra" / "resonate_infra" / "project" / "common"
WORKFLOWS = [*sorted((GITHUB / "workflows").glob("*.yml")), COMMON / "test.yml"]
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")],
}
PINNED = re.compile(r"^ *- uses: (?P<name>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)$")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_of_github_match_their_schema(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *SCHEMAS[schema]], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_broken_workflow_does_not_match_the_schema(tmp_path: Path) -> None:
    broken = tmp_path / "test.yml"
    broken.write_text(WORKFLOWS[0].read_text(encoding="utf-8").replace("runs-on:", "run-on:"), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", broken]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_each_schema_has_all_of_its_files() -> None:
    listed = {path for paths in SCHEMAS.values() for path in paths}

    assert set(GITHUB.rglob("*.yml")) <= listed


def test_actions_are_pinned_to_one_commit_each() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                found = PINNED.match(line)
                assert found, f"{path.name}: {line}"
                pins.setdefault(found["name"], set()).add((found["commit"], found["version"]))

    assert pins
    assert {name: found for name, found in pins.items() if len(found) != 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.parent.name)
def test_workflows_have_few_permissions_and_a_time_limit(path: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {"contents": "read"}
    assert all(0 < job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    assert not any("permissions" in job for job in workflow["jobs"].values())
    # YAML 1.1 reads the key `on` as true. Pull requests of forks must not get secrets.
    assert "pull_request_target" not in workflow[True]


def test_targets_of_make_in_workflows_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (GITHUB / "workflows" / "test.yml").read_text(encoding="utf-8")
    targets = {word for line in re.findall(r"run: make (.*)", text) for word in line.split() if "=" not in word}

    assert targets == {"test", "dist", "sbom"}
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_links_of_community_files_exist() -> None:
    files = [ROOT / name for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "README.md", "CONTRIBUTING.md")]
    broken = [
        f"{file.name}: {link}"
        for file in files
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
        if not (ROOT / link).exists()
    ]

    assert broken == []
