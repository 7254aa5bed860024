"""Generators that are not workflows, although their parameter is a context."""

import random
from contextlib import contextmanager

import pytest

from resonate import Context


@contextmanager
def span(ctx: Context):
    print(random.random())
    yield ctx.id


@pytest.fixture
def fixture(ctx: Context):
    print(random.random())
    yield ctx.id


def test_sleep_is_refused(ctx: Context) -> None:
    with pytest.raises(ValueError):
        ctx.sleep(-1)
