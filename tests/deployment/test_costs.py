"""The documentation's tables of costs are what is measured, to the last digit."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import costs

ADVICE = "paste what `python benchmarks/costs.py` prints"
PAGE = Path(__file__).parents[2] / "docs" / "costs.md"


@pytest.fixture(scope="module")
def usages() -> Mapping[str, costs.Usage]:
    return costs.measured()


def test_the_page_shows_what_everything_costs(usages: Mapping[str, costs.Usage]) -> None:
    assert costs.table(usages) in PAGE.read_text(encoding="utf-8"), ADVICE


def test_the_page_compares_whole_workflows(usages: Mapping[str, costs.Usage]) -> None:
    assert costs.comparison(usages) in PAGE.read_text(encoding="utf-8"), (
        "paste what `python benchmarks/costs.py` prints"
    )


def test_the_page_names_the_prices_that_it_reckons_with() -> None:
    page = PAGE.read_text(encoding="utf-8")
    prices = (costs.WRITE_UNITS, costs.READ_UNITS, costs.LAMBDA_REQUESTS, costs.SQS_REQUESTS, costs.SCHEDULES)

    assert [price for price in prices if f"${price:.3f}" not in page] == []


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        ({}, {"sk": {"S": "0#a"}, "value": {"S": "x" * 1000}}, 1),
        ({}, {"sk": {"S": "0#a"}, "value": {"S": "x" * 1024}}, 2),
        # Into an index, along it, out of it.
        ({}, {"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}, 2),
        ({"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}, {"wake_shard": {"S": "1"}, "wake_at": {"N": "6"}}, 3),
        ({"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}, {"wake_shard": {"S": "1"}}, 2),
        # An entry that stays as it is costs nothing.
        ({"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}, {"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}, 1),
        # What TTL deletes is free.
        ({"sk": {"S": "expiry#a"}}, {}, 0),
    ],
)
def test_units_are_those_of_the_item_and_of_its_index_entries(
    before: dict[str, object], after: dict[str, object], units: int
) -> None:
    assert costs.units({"OldImage": before, "NewImage": after}) == units
