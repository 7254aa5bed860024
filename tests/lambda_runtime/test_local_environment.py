"""Environment of functions under `sam local`, from SAM's own classes, for the commands of the documentation.

SAM resolves the template itself. Without a message it leaves empty what it cannot resolve, or uses the logical id. A
function with an empty endpoint calls AWS, with the credentials of the user.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # pyright: ignore[reportUnknownVariableType]

from tests.support.hypothesis_settings import in_ci
from tests.support.lambda_runtime.emulator import needs_runtime

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "lambda_runtime" / "local_environment.py"
SAM = Path(sys.prefix, "tools", "bin", "python")
ENDPOINT = "http://host.docker.internal:5000"
FUNCTIONS = ("WorkerFunction", "DispatchFunction", "TickFunction", "ApiFunction")


def commands() -> list[list[str]]:
    """Return the words of each command of `sam local` in the documentation."""
    text = (ROOT / "docs" / "deploy.md").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^\$ (sam local .*)$", text, re.MULTILINE)]


PARAMETERS: list[dict[str, str]] = [{}, {"EndpointUrl": ENDPOINT}, {"PushToken": "s3cret", "Metrics": "off"}]
"""The parameters of each command."""


@cache
def environments() -> list[dict[str, dict[str, str]]]:
    """Return the environments of the functions under `sam local`, for each of `PARAMETERS`, with `events/env.json`."""
    shell = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "RESONATE_"))}
    shell |= {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": ""}
    return printed([SAM, SCRIPT, "template.yaml", "events/env.json"], shell)


def printed(command: list[str | Path], environment: dict[str, str]) -> list[dict[str, dict[str, str]]]:
    """Return what a command prints for `PARAMETERS`."""
    command = [*command, json.dumps(PARAMETERS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DEPLOY = """
import json
import sys
from pathlib import Path

import boto3
from moto import mock_aws

from resonate_infra.testing.template.resources import create
from resonate_infra.testing.template.template import TemplateStack, load

found = []
for parameters in json.loads(sys.argv[1]):
    template = load(Path("template.yaml"), stack=TemplateStack("resonate"), parameters=parameters)
    with mock_aws():
        deployment = create(template, boto3.Session("testing", "testing", region_name="us-east-1").client)
    found.append({name: dict(function.environment) for name, function in deployment.functions.items()})
print(json.dumps(found))
"""


@cache
def deployed() -> list[dict[str, dict[str, str]]]:
    """Return the environments of the functions in the account of the endpoint, for each of `PARAMETERS`."""
    # Other tests can keep a stack of the same name in this process, so this runs in another one.
    paths = os.pathsep.join(path for path in sys.path if path)
    return printed([sys.executable, "-c", DEPLOY], {**os.environ, "PYTHONPATH": paths})


def test_sam_local_commands_name_endpoint_and_variables() -> None:
    found = commands()

    assert {words[2] for words in found} == {"invoke", "start-api"}
    for words in found:
        assert words[words.index("--parameter-overrides") + 1] == f"EndpointUrl={ENDPOINT}"
        assert words[words.index("--env-vars") + 1] == "events/env.json"


@needs_runtime
def test_sam_local_functions_use_the_endpoint() -> None:
    _, local, _ = environments()

    assert {name: local[name]["AWS_ENDPOINT_URL"] for name in FUNCTIONS} == dict.fromkeys(FUNCTIONS, ENDPOINT)


@in_ci
@needs_runtime
def test_sam_and_endpoint_have_the_same_environments(subtests: pytest.Subtests) -> None:
    for number in (1, 2):
        with subtests.test(parameters=PARAMETERS[number]):
            local, there = environments()[number], deployed()[number]
            assert set(local) == set(there) == set(FUNCTIONS)
            for name in FUNCTIONS:
                # SAM calls each stack `local`.
                expected = {**there[name], "POWERTOOLS_SERVICE_NAME": "local"}
                assert {variable: local[name].get(variable) for variable in expected} == expected


def test_env_file_has_the_variables_that_sam_cannot_resolve() -> None:
    # SAM uses logical ids of resources and another name of the stack, and cannot read mappings.
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    given = json.loads((ROOT / "events" / "env.json").read_text())["Parameters"]
    unknown = [f'"{name}"' for name in document["Resources"]]
    unknown += [f"${{{name}" for name in (*document["Resources"], "AWS::StackName")] + ["Fn::FindInMap"]
    declared = [document["Globals"]["Function"]]
    declared += [document["Resources"][name]["Properties"] for name in FUNCTIONS]
    expected = {
        variable
        for each in declared
        for variable, value in each["Environment"]["Variables"].items()
        if any(name in json.dumps(value) for name in unknown)
    }
    there = {variable: text for each in deployed()[0].values() for variable, text in each.items()}

    assert set(given) == expected
    assert given == {variable: there[variable] for variable in given}
