"""Functions of a test in the place of functions that a program calls."""

from unittest.mock import AsyncMock, Mock

import pytest

from resonate.testing import MemoryStack
from tests.unit.sdk.testing.programs import order


def test_mock_without_target_serves_functions_without_a_worker(stack: MemoryStack) -> None:
    stack.mock("ship", lambda *_, **__: "shipped")
    stack.mock("pick", lambda _: "never called")
    assert stack.run(order, "tea") == "tea from B4, shipped"


def test_mock_may_fail_or_be_async(stack: MemoryStack) -> None:
    stack.mock("ship", Mock(side_effect=PermissionError("no entry")), target="carrier")
    with pytest.raises(PermissionError, match="no entry"):
        stack.run(order, "tea")

    stack.clear()
    ship = AsyncMock(return_value="shipped")
    stack.mock("ship", ship, target="carrier")
    assert stack.run(order, "tea") == "tea from B4, shipped"
    ship.assert_awaited_once_with("tea from B4", fast=True)
