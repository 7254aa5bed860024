"""Versions and aliases of the offline stack. tests/deployment/test_pinned_versions.py runs executions on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.stack import OfflineStack

CODE = """
import os

def handler(event, context):
    version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
    assert version == context.function_version
    return "{name}", version, context.invoked_function_arn.rpartition(":")[2]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfflineStack]:
    code = tmp_path_factory.mktemp("code") / "app.py"
    code.write_text(CODE.format(name="A"))
    parameters = {"PinVersions": "on", "Revision": "r1"}
    with OfflineStack(code={"WorkerFunction": code}, parameters=parameters) as stack:
        yield stack


def test_version_keeps_its_code_and_the_alias_moves(stack: OfflineStack, tmp_path: Path) -> None:
    arn = stack.function("WorkerFunction").arn
    assert stack.invoke("resonate-worker:live", {}) == ("A", "1", "live")

    code = tmp_path / "app.py"
    code.write_text(CODE.format(name="B"))
    stack.redeploy("WorkerFunction", code)

    answers: dict[str, Any] = {
        "resonate-worker": ("B", "$LATEST", "resonate-worker"),
        "resonate-worker:live": ("B", "2", "live"),
        "resonate-worker:1": ("A", "1", "1"),
        f"{arn}:2": ("B", "2", "2"),
    }
    assert {name: stack.invoke(name, {}) for name in answers} == answers
    assert stack.invocations["WorkerFunction"] == 5


def test_deleted_version_cannot_be_invoked(stack: OfflineStack) -> None:
    version = stack.versions.publish("WorkerFunction")
    assert version is not None
    stack.versions.delete("WorkerFunction", version)

    for name in (f"resonate-worker:{version}", "resonate-worker:99", f"WorkerFunction:{version}"):
        with pytest.raises(KeyError):
            stack.invoke(name, {})
    with pytest.raises(KeyError):
        stack.versions.delete("WorkerFunction", version)


def test_function_without_versions_publishes_none(stack: OfflineStack) -> None:
    assert stack.versions.publish("TickFunction") is None
