"""What `sam local` tells functions, by SAM's own classes, for the commands in the documentation.

SAM resolves the template by itself, and what it cannot resolve it leaves empty or calls by its logical id, without a
word. A function whose endpoint is empty talks to AWS, with the credentials of whoever has typed the command.
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

from tests.support.lambda_runtime.emulator import needs_runtime

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "lambda_runtime" / "local_environment.py"
SAM = Path(sys.prefix, "tools", "bin", "python")
ENDPOINT = "http://host.docker.internal:5000"
FUNCTIONS = ("WorkerFunction", "DispatchFunction", "TickFunction", "ApiFunction")


def commands() -> list[list[str]]:
    """Every command of `sam local` in the documentation, in words."""
    texts = [(ROOT / name).read_text().replace("\\\n", " ") for name in ("README.md", "docs/deploy.md")]
    return [shlex.split(line) for text in texts for line in re.findall(r"^\$ (sam local .*)$", text, re.MULTILINE)]


@cache
def told(*parameters: str) -> dict[str, dict[str, str]]:
    """The environment of every function under `sam local` with these parameters and `events/env.json`."""
    shell = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "RESONATE_"))}
    done = subprocess.run(
        [
            SAM,
            SCRIPT,
            "template.yaml",
            "events/env.json",
            *parameters,
        ],
        cwd=ROOT,
        env={**shell, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DEPLOY = """
import json
import sys
from pathlib import Path

import boto3
from moto import mock_aws

from resonate_infra.testing.template.resources import create
from resonate_infra.testing.template import Stack, load

template = load(Path("template.yaml"), stack=Stack("resonate"), parameters=json.loads(sys.argv[1]))
with mock_aws():
    deployment = create(template, boto3.Session("testing", "testing", region_name="us-east-1").client)
print(json.dumps({name: dict(function.environment) for name, function in deployment.functions.items()}))
"""


@cache
def deployed(**parameters: str) -> dict[str, dict[str, str]]:
    """The environment of every function in the account that the endpoint serves.

    In a process of its own: in this one, other tests may keep a stack of the same name.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", DEPLOY, json.dumps(parameters)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_names_the_endpoint_and_the_variables() -> None:
    found = commands()

    assert {words[2] for words in found} == {"invoke", "start-api"}
    for words in found:
        assert words[words.index("--parameter-overrides") + 1] == f"EndpointUrl={ENDPOINT}"
        assert words[words.index("--env-vars") + 1] == "events/env.json"


@needs_runtime
def test_sam_leads_every_function_to_the_endpoint() -> None:
    assert {name: told(f"EndpointUrl={ENDPOINT}")[name]["AWS_ENDPOINT_URL"] for name in FUNCTIONS} == dict.fromkeys(
        FUNCTIONS, ENDPOINT
    )


@needs_runtime
@pytest.mark.parametrize("parameters", [{"EndpointUrl": ENDPOINT}, {"PushToken": "s3cret", "Metrics": "off"}])
def test_sam_tells_every_function_what_it_is_told_at_the_endpoint(parameters: dict[str, str]) -> None:
    local, there = told(*(f"{name}={text}" for name, text in parameters.items())), deployed(**parameters)

    assert set(local) == set(there) == set(FUNCTIONS)
    for name in FUNCTIONS:
        # To SAM, every stack is called `local`.
        expected = {**there[name], "POWERTOOLS_SERVICE_NAME": "local"}
        assert {variable: local[name].get(variable) for variable in expected} == expected


def test_the_variables_that_are_given_are_those_that_sam_does_not_know() -> None:
    """It calls a resource by its logical id, all of a stack by another stack's name, and finds nothing in a mapping."""
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
    there = {variable: text for each in deployed().values() for variable, text in each.items()}

    assert set(given) == expected
    assert given == {variable: there[variable] for variable in given}
