"""Tests of the workflows. They run in memory, without an AWS account and without a network."""

import app


def test_an_order_is_captured_after_the_cooling_off_period() -> None:
    result = app.resonate.run("order-1", app.order, 30.0, cooling_off=0.1)

    assert result == "order order-1: 30.00 reserved, captured"


def test_the_same_order_is_not_captured_twice() -> None:
    first = app.resonate.run("order-2", app.order, 30.0, cooling_off=0.0)
    second = app.resonate.run("order-2", app.order, 99.0, cooling_off=0.0)

    assert first == second
