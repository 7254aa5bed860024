"""Endpoint for `sam local invoke`: its command, with the events and variables of `events/`."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lambda_runtime.emulator import RuntimeEmulator, needs_runtime

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "resonate_infra.testing.endpoint"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([*COMMAND, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            announced = process.stdout.readline()
            found = re.search(r"http://\S+:\d+", announced)
            assert found, f"the endpoint said {announced!r}"
            yield found[0]
        finally:
            process.terminate()


EXPECTED: dict[str, dict[str, Any]] = {
    "worker": {"status": "suspended"},
    "tick": {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True},
    "dispatch": {"batchItemFailures": []},
}


@needs_runtime
def test_functions_answer_their_events_at_the_endpoint(url: str, subtests: pytest.Subtests) -> None:
    variables: dict[str, str] = json.loads((ROOT / "events" / "env.json").read_text())["Parameters"]
    for function, expected in EXPECTED.items():
        with (
            subtests.test(function),
            RuntimeEmulator(
                handler="app.handler",
                directory=ROOT / "functions" / function,
                environment={**variables, "AWS_ENDPOINT_URL": url},
                function_name=f"resonate-{function}",
                timeout_seconds=60,
            ) as emulator,
        ):
            invocation = emulator.invoke(json.loads((ROOT / "events" / f"{function}.json").read_text()))
            assert (invocation.payload, invocation.error_type) == (expected, None)
