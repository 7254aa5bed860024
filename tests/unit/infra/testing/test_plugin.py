"""The pytest plugin, in runs of pytest as users start them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[4]

EACH = """
import os
import pytest
from resonate import Context, Resonate
from resonate.testing import MemoryStack, Stack
from resonate_store.model.clock import ambient

app = Resonate(group="worker")

@app.register
def hello_world(ctx: Context, greetee: str):
    yield ctx.sleep(7 * 86_400)
    return f"Hello {greetee}!"

def test_in_memory(resonate_stack):
    assert isinstance(resonate_stack, MemoryStack)
    assert resonate_stack.run(hello_world, "you") == "Hello you!"

@pytest.mark.parametrize("n", [1, 2])
def test_offline(resonate_offline_stack, n):
    assert resonate_offline_stack.invocations.total() == 0
    assert resonate_offline_stack.run("hello_world", "you", id="h") == "Hello you!"
    assert resonate_offline_stack.invocations["WorkerFunction"] == 1
    assert "AWS_ACCESS_KEY_ID" in os.environ

def test_between():
    assert not [name for name in os.environ if name.startswith("AWS_")]
    assert abs(ambient().now() - resonate_now()) < 3_600_000

def test_others_may_use_moto():
    import boto3
    from moto import mock_aws
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        assert client.list_tables()["TableNames"] == []

def test_offline_after_that(resonate_offline_stack):
    assert resonate_offline_stack.run("hello_world", "you", id="h") == "Hello you!"

def test_each(resonate_each_stack: Stack):
    assert resonate_each_stack.run(hello_world, "you") == "Hello you!"

def resonate_now():
    import time
    return time.time() * 1000
"""


@pytest.fixture(autouse=True)
def _only_this_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the plugin from these sources only, not from an installed package."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def test_plugin_fixtures_return_stacks_and_leave_no_trace(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests in this process can keep open stacks, so this run has its own process.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    paths = [str(ROOT / name) for name in ("", "sdk", "store", "infra")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    pytester.makeini(f"[pytest]\nresonate_template = {ROOT / 'template.yaml'}\n")
    pytester.makepyfile(EACH)

    result = pytester.runpytest_subprocess("-p", "resonate_infra.testing.plugin", "-q")

    result.assert_outcomes(passed=8)


def test_plugin_names_a_missing_template(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nresonate_template = deploy/template.yaml\n")
    pytester.makepyfile("def test_offline(resonate_offline_stack): pass")

    result = pytester.runpytest_inprocess("-p", "resonate_infra.testing.plugin")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*resonate_template has to name one file that exists, and names *deploy/template.yaml*"]
    )


def test_plugin_fixtures_are_listed_with_their_docstrings(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-p", "resonate_infra.testing.plugin", "--fixtures")

    result.stdout.fnmatch_lines(["resonate_stack*", "*an empty stack in memory*", "resonate_offline_stack*"])


def test_plugin_that_is_not_used_imports_nothing() -> None:
    script = (
        "import pytest, sys; before = set(sys.modules); import resonate_infra.testing.plugin;"
        " print(*sorted(set(sys.modules) - before))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert completed.stdout.split() == ["resonate_infra", "resonate_infra.testing", "resonate_infra.testing.plugin"]
