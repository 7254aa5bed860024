"""How hard tests look: by default briefly, in continuous integration longer."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, seed, settings

T = TypeVar("T")

in_ci = pytest.mark.skipif("RESONATE_CI" not in os.environ, reason="it takes seconds: set RESONATE_CI to run it")
"""Marker of tests whose processes take seconds. Similar tests always run."""

ANY_HEALTH = [
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.too_slow,
    HealthCheck.large_base_example,
    HealthCheck.function_scoped_fixture,
    HealthCheck.differing_executors,
    HealthCheck.nested_given,
]
"""For strategies whose examples are large or slow by nature."""


class Batch(NamedTuple):
    """A part of the examples of a property test that has too many for one test.

    Attributes:
        number: the number of the batch, which is the seed of its examples.
        size: how many examples it has.
    """

    number: int
    size: int

    def run(self, check: Callable[..., None], *strategies: Any) -> None:
        """Call `check` with examples of the strategies."""
        test = settings(max_examples=self.size, deadline=None, suppress_health_check=ANY_HEALTH)(
            given(*strategies)(check)
        )
        (seed(self.number)(test) if settings().derandomize else test)()


def in_batches(count: int, size: int) -> pytest.MarkDecorator:
    """Run a test with its argument `batch` for each batch of `count` examples, of which each has at most `size`."""
    batches = [Batch(start // size, min(size, count - start)) for start in range(0, count, size)]
    return pytest.mark.parametrize("batch", batches, ids=lambda batch: str(batch.number))


def examples(count: int, in_ci: int | None = None) -> int:
    """Return the number of examples of a property test: `count`, and with `RESONATE_CI` three times as many.

    Args:
        count: the number by default.
        in_ci: the number with `RESONATE_CI`, where it is not three times as many.
    """
    return (in_ci or 3 * count) if "RESONATE_CI" in os.environ else count


def some(values: Sequence[T], step: int) -> Sequence[T]:
    """Return every value with `RESONATE_CI`, otherwise the first one and each that is `step` values later."""
    return values if "RESONATE_CI" in os.environ else values[::step]
