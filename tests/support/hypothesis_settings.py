"""How hard property tests look: by default briefly, in continuous integration longer."""

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


def examples(count: int, in_ci: int | None = None) -> int:
    """Return the number of examples of a property test: `count`, and with `RESONATE_CI` three times as many.

    Args:
        count: the number by default.
        in_ci: the number with `RESONATE_CI`, where it is not three times as many.
    """
    return (in_ci or 3 * count) if "RESONATE_CI" in os.environ else count
