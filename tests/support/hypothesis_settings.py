"""How hard property tests look: by default briefly, in continuous integration three times as long."""

import os

from hypothesis import HealthCheck

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


def examples(count: int) -> int:
    """Return the number of examples of a property test; `RESONATE_CI` triples it."""
    return 3 * count if "RESONATE_CI" in os.environ else count
