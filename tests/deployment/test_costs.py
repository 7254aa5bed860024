"""Tables of `docs/costs.md` and the measured costs."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from benchmarks import costs, metering
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import OfflineStack
from tests.support.hypothesis_settings import in_ci

ADVICE = "paste what `python -m benchmarks.costs` prints"
PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
AUDITED = {
    "An execution": costs.EXECUTION,
    "A remote call": costs.REMOTE,
    "A sleep of 10 minutes": costs.SLEEP,
    "A promise, settled from outside after two hours": costs.LATE_PROMISE,
}
"""The things whose writes the page explains, by the title of the section."""


@pytest.fixture(scope="module")
def runs() -> Mapping[str, metering.Run]:
    return costs.measured("writer")


def test_costs_page_shows_measured_costs(runs: Mapping[str, metering.Run]) -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert costs.table(costs.single(runs)) in page, ADVICE
    assert costs.table(costs.combined(runs)) in page, ADVICE
    assert costs.comparison(runs) in page, ADVICE


@in_ci
def test_costs_page_shows_measured_costs_of_stream() -> None:
    stream, page = costs.measured("stream"), PAGE.read_text(encoding="utf-8")

    assert costs.short_table(costs.single(stream)) in page, ADVICE
    assert costs.short_table(costs.combined(stream)) in page, ADVICE


def test_costs_page_explains_every_write(runs: Mapping[str, metering.Run], subtests: pytest.Subtests) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for title, name in AUDITED.items():
        with subtests.test(title):
            _, _, section = page.partition(f"\n### {title}\n\n")
            _, _, *rows = section.partition("\n\n")[0].splitlines()

            assert [row.rsplit(" | ", 2)[0] for row in rows] == costs.audit(runs, name)
            assert sum(int(row.split(" | ")[2]) for row in rows) == runs[name].usage.write_units


def test_costs_are_within_targets_only_if_all_figures_are(subtests: pytest.Subtests) -> None:
    usage = metering.Usage(9, 5, 1, 0, 0, 0, 0)
    assert usage.dollars == pytest.approx(9 * 0.625 + 5 * 0.125 + 0.2 + 0.333, abs=0.001)
    for target, within in (
        (costs.Target(9, 1, 6.78), True),
        (costs.Target(8, 1, 6.78), False),
        (costs.Target(9, 0, 6.78), False),
        (costs.Target(9, 1, 6.77), False),
    ):
        with subtests.test(target=target):
            table, good = costs.checked({"a call": usage}, {"a call": target})
            assert good is within
            assert ("NO" in table) is not within


def test_costs_page_names_the_prices() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = ("WRITE_UNITS", "READ_UNITS", "LAMBDA_REQUESTS", "SQS_REQUESTS", "SCHEDULES", "S3_PUTS", "S3_GETS")
    prices = [getattr(metering, name) for name in names]

    assert [price for price in prices if f"${price:.3f}" not in page] == []


INDEXED: dict[str, object] = {"wake_shard": {"S": "1"}, "wake_at": {"N": "5"}}
SMALL: dict[str, object] = {"sk": {"S": "0#a"}, "value": {"S": "x" * 1000}}
LARGE: dict[str, object] = {"sk": {"S": "0#a"}, "value": {"S": "x" * 1024}}
UNITS: list[tuple[dict[str, object], dict[str, object], int, int]] = [
    # The last two numbers are the units alone and in a transaction.
    ({}, SMALL, 1, 2),
    ({}, LARGE, 2, 4),
    # The larger image counts, also in a deletion.
    (LARGE, SMALL, 2, 4),
    (LARGE, {}, 2, 4),
    # A check of an absent item.
    ({}, {}, 1, 2),
    # Into an index, along it, out of it. An index entry costs the same in a transaction.
    ({}, INDEXED, 2, 3),
    (INDEXED, {**INDEXED, "wake_at": {"N": "6"}}, 3, 4),
    (INDEXED, {"wake_shard": {"S": "1"}}, 2, 3),
    # An index entry that does not change is free.
    (INDEXED, INDEXED, 1, 2),
]


def test_write_units_count_item_and_index_entries(subtests: pytest.Subtests) -> None:
    for before, after, alone, in_transaction in UNITS:
        with subtests.test(before=before, after=after):
            assert metering.units(before, after) == alone
            assert metering.units(before, after, in_transaction=True) == in_transaction


def test_meter_counts_announcement_and_its_invocation() -> None:
    """A client that may not invoke the worker touches the record, and the dispatcher invokes the worker."""

    def deny(moment: Moment, call: CountedCall) -> None:
        if (moment, *call) == ("before", "lambda", "Invoke", ""):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, call.operation)

    with OfflineStack(
        code={"WorkerFunction": Path(costs.__file__)}, parameters={"RetentionDays": metering.RETENTION_DAYS}
    ) as stack:
        meter = metering.Meter(stack)
        with meter.metering():
            usual = meter.run("steps", 0)
            meter.fault = deny
            denied = meter.run("steps", 0)

    assert denied.usage.less(usual.usage) == metering.Usage(1, 0, 1, 0, 0, 0, 0)
    assert [write.change for write in denied.writes][:3] == ["create", "announce", "acquire"]
