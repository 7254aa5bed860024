"""What a stuck execution says about the workers of the offline stack."""

from __future__ import annotations

import pytest

from resonate.testing import Stuck
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET
from tests.support.shipped_template import ROOT


def text_of(stack: OfflineStack, id: str) -> str:
    with pytest.raises(Stuck) as caught:
        stack.run_until_complete(id, days=0.1)
    return str(caught.value)


def test_stuck_without_the_function_names_the_file_of_the_worker(resonate_offline_stack: OfflineStack) -> None:
    resonate_offline_stack.start("unknown_function", id="u1")
    text = text_of(resonate_offline_stack, "u1")
    assert "function unknown_function not found in registry" in text
    assert (
        f"\n  WorkerFunction, target 'default' or 'worker', runs {ROOT / 'functions' / 'worker' / 'app.py'}\n" in text
    )
    assert "Register the function in that file" in text
    assert "ini option resonate_worker" in text
    assert "DispatchFunction" not in text


def test_stuck_without_a_worker_names_the_targets(resonate_offline_stack: OfflineStack) -> None:
    tags = {TARGET: "lambda://nowhere"}
    resonate_offline_stack.store.apply(PromiseCreate("u2", resonate_offline_stack.clock.now() + 2**40, tags=tags))
    text = text_of(resonate_offline_stack, "u2")
    assert "target 'default' or 'worker'" in text
    assert "stack.mock(name, function, target=...) serves another target" in text


def test_stuck_at_a_promise_does_not_name_workers(resonate_offline_stack: OfflineStack) -> None:
    resonate_offline_stack.store.apply(PromiseCreate("u3", resonate_offline_stack.clock.now() + 2**40))
    assert "workers of this stack" not in text_of(resonate_offline_stack, "u3")
