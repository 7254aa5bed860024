"""Tests of the workflows. They run in memory, without an AWS account, and a test moves the clock."""

import app
import pytest

from resonate.testing import MemoryStack


@pytest.fixture
def stack() -> MemoryStack:
    return MemoryStack(app.resonate)


def test_order_is_captured_after_the_cooling_off_period(stack: MemoryStack) -> None:
    handle = stack.start(app.order, 30.0, id="order-1")

    stack.advance(hours=23)
    assert not handle.done()
    stack.advance(hours=1)
    assert handle.result() == "order order-1: 30.00 reserved, captured"


def test_same_order_is_captured_once(stack: MemoryStack) -> None:
    first = stack.run(app.order, 30.0, id="order-2")
    second = stack.run(app.order, 99.0, id="order-2")

    assert first == second


def test_order_survives_a_killed_worker(stack: MemoryStack) -> None:
    crash = stack.crash(after="capture")

    assert stack.run(app.order, 30.0, id="order-3") == "order order-3: 30.00 reserved, captured"
    assert crash.hits == 1
