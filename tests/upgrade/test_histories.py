"""Histories that earlier releases exported are replayed by the workflows without a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate.retry_policies import Constant, RetryPolicy
from resonate.testing import History, replay
from tests.upgrade import conditions
from tests.upgrade.fixtures import GENERATIONS
from tests.upgrade.workflows import resonate

HISTORIES = sorted(GENERATIONS.glob("*/histories/*.json"))
STOPPED_AT = {
    "0.1.0/begun.begun": ("begun.5", "begun.2.2"),
    "0.1.0/detached.begun": ("detached.3",),
    "0.1.0/end-cancelled.ended": ("end-cancelled.2",),
    "0.1.0/errors.begun": ("errors.14",),
    "0.1.0/ids.begun": ("own/sleep",),
    "0.1.0/nested-async.begun": ("nested-async.3.2",),
    "0.1.0/nested.begun": ("nested.2.2.2.2",),
    "0.1.0/not-durable.ended": ("not-durable.2",),
    "0.1.0/promise.begun": ("promise.2",),
    "0.1.0/retry-workflow.begun": ("retry-workflow.1~2", "retry-workflow.2~2"),
    "0.1.0/retry.begun": ("retry.2~3",),
    "0.1.0/sleep.begun": ("sleep.2",),
}
"""Where the records of a history end; the others are replayed to the end of the workflow."""
POLICIES: dict[str, RetryPolicy] = {
    "retry-root": Constant(delay=3600, max_retries=1),
    "retry-noted": Constant(delay=0.5, max_retries=3),
}
"""The policies that executions were begun with, by id."""


def named(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", HISTORIES, ids=named)
def test_stored_history_is_replayed_to_where_it_got(path: Path) -> None:
    conditions.reset("now")
    history = History.from_json(path.read_text(encoding="utf-8"))
    call = history.root.param
    workflow = resonate.registry.get(call["func"], call.get("version") or 1).func
    replayed = replay(
        history,
        workflow,
        registry=resonate.registry,
        dependencies=resonate.dependencies,
        retry_policy=POLICIES.get(history.id),
    )
    assert replayed.stopped_at == STOPPED_AT.get(named(path), ())
    assert replayed.finished == (named(path) not in STOPPED_AT)
    assert conditions.runs == {}, "a replay runs no step"


def test_histories_are_of_every_workflow_with_commands() -> None:
    found = {History.from_json(path.read_text(encoding="utf-8")).root.param["func"] for path in HISTORIES}
    assert found == set(resonate.registry.names()) - {"double", "plain", "relay"}
