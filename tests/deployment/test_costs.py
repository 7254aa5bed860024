"""Tables of `docs/costs.md` and the measured costs."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import costs

ADVICE = "paste what `python benchmarks/costs.py` prints"
PAGE = Path(__file__).parents[2] / "docs" / "costs.md"


@pytest.fixture(scope="module")
def usages() -> Mapping[str, costs.Usage]:
    return costs.measured()


def test_costs_page_shows_measured_costs(usages: Mapping[str, costs.Usage]) -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert costs.table(usages) in page, ADVICE
    assert costs.comparison(usages) in page, ADVICE


def test_costs_page_names_the_prices() -> None:
    page = PAGE.read_text(encoding="utf-8")
    prices = (costs.WRITE_UNITS, costs.READ_UNITS, costs.LAMBDA_REQUESTS, costs.SQS_REQUESTS, costs.SCHEDULES)

    assert [price for price in prices if f"${price:.3f}" not in page] == []


INDEXED: dict[str, object] = {"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}
UNITS: list[tuple[dict[str, object], dict[str, object], int]] = [
    ({}, {"sk": {"S": "0#a"}, "value": {"S": "x" * 1000}}, 1),
    ({}, {"sk": {"S": "0#a"}, "value": {"S": "x" * 1024}}, 2),
    # Into an index, along it, out of it.
    ({}, INDEXED, 2),
    (INDEXED, {**INDEXED, "wake_at": {"N": "6"}}, 3),
    (INDEXED, {"wake_shard": {"S": "1"}}, 2),
    # An index entry that does not change is free.
    (INDEXED, INDEXED, 1),
    # A deletion by TTL is free.
    ({"sk": {"S": "expiry#a"}}, {}, 0),
]


def test_write_units_count_item_and_index_entries(subtests: pytest.Subtests) -> None:
    for before, after, units in UNITS:
        with subtests.test(before=before, after=after):
            assert costs.units({"OldImage": before, "NewImage": after}) == units
