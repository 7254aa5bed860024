"""Commands about patches: their names, and their descriptions."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context
from resonate.workflow.commands import state_of
from resonate.workflow.context import Info
from resonate.workflow.registry import Registry

CONTEXT = Context("w", Info(1, 0, {}, 1), Registry(), {})
METHODS = (CONTEXT.patched, CONTEXT.deprecate_patch)


def test_patch_is_described_by_its_name() -> None:
    for method in METHODS:
        for name in ("t", "Taxes_2-b", "x" * 64, "2026"):
            command = method(name)
            assert (command.name, command.describe()) == (name, f"patch {name}")
    assert (state_of(CONTEXT).count, state_of(CONTEXT).made) == (0, 0), "they have no number"


def test_wrong_name_of_a_patch_is_refused(subtests: pytest.Subtests) -> None:
    wrong: list[Any] = ["", "x" * 65, "a.b", "a:1", "a~1", "a b", "é", "a\n"]
    for method in METHODS:
        for name in wrong:
            with subtests.test(name=name), pytest.raises(ValueError, match="has 1 to 64 characters"):
                method(name)
        for name in (None, 2, b"a"):
            with subtests.test(name=name), pytest.raises(TypeError, match="must be `str`, got"):
                method(name)  # type: ignore[arg-type]
