"""Histories that earlier releases exported. The workflows replay them without a difference."""

from __future__ import annotations

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
    "2026-11-30/chatting.begun": ("chatting.6",),
    "2026-11-30/ids.begun": ("own/sleep",),
    "2026-11-30/interrupted.begun": ("interrupted.1.3",),
    "2026-11-30/refused.begun": ("refused.5",),
    "2026-11-30/limited.begun": ("limited.2",),
    "2026-11-30/several.begun": ("several.12",),
    "2026-12-01/retry.begun": ("retry.2~3",),
}
"""Last records of the histories that do not reach the end of their workflow."""
POLICIES: dict[str, RetryPolicy] = {
    "retry-root": Constant(delay=3600, max_retries=1),
    "retry-noted": Constant(delay=0.5, max_retries=3),
}
"""Retry policies of the executions that have one, by id."""


def test_stored_histories_are_replayed_to_their_last_record(subtests: pytest.Subtests) -> None:
    for path in HISTORIES:
        name = f"{path.parent.parent.name}/{path.stem}"
        history = History.from_json(path.read_text(encoding="utf-8"))
        call = history.root.param
        conditions.reset("now")
        with subtests.test(name):
            replayed = replay(
                history,
                resonate.registry.get(call["func"], call.get("version") or 1).func,
                registry=resonate.registry,
                dependencies=resonate.dependencies,
                retry_policy=POLICIES.get(history.id),
            )
            assert replayed.stopped_at == STOPPED_AT.get(name, ())
            assert replayed.finished == (name not in STOPPED_AT)
            assert conditions.runs == {}, "a replay runs no step"


def test_stored_histories_cover_the_workflows_with_commands() -> None:
    found = {History.from_json(path.read_text(encoding="utf-8")).root.param["func"] for path in HISTORIES}
    assert found == set(resonate.registry.names()) - {"double", "plain", "relay"}
