"""Readable times."""

import pytest

from resonate_infra.console.times import (
    age,
    final_instant,
    full_instant,
    iso_instant,
    labels_of_axis,
    short_instant,
    stable_length,
)

NOW = 1_796_029_200_000
"""2026-11-30T09:00:00Z."""
DAY = 86_400_000


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW - 61_000, "08:58:59"),
        (NOW - DAY, "Nov 29, 09:00:00"),
        (NOW - 365 * DAY, "Nov 30 2025, 09:00:00"),
        (2**53, "never"),
    ],
)
def test_short_instant_has_the_parts_that_differ_from_today(at: int, text: str) -> None:
    assert short_instant(at, NOW) == text


def test_full_and_machine_readable_instants_have_milliseconds() -> None:
    assert full_instant(NOW + 7) == "2026-11-30 09:00:00.007 UTC"
    assert iso_instant(NOW + 7) == "2026-11-30T09:00:00.007Z"
    assert (full_instant(2**53), iso_instant(2**53)) == ("never", "")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW, "now"),
        (NOW - 5_400, "5s ago"),
        (NOW + 90_000, "in 1m 30s"),
        (NOW - 3 * DAY, "3d 0h ago"),
        (2**53, "never"),
    ],
)
def test_age_says_past_and_future(at: int, text: str) -> None:
    assert age(at, NOW) == text


@pytest.mark.parametrize(
    ("length", "labels"),
    [
        (7, "0 2ms 4ms 6ms"),
        (1_700, "0 500ms 1s 1.5s"),
        (19_300, "0 5s 10s 15s"),
        (400_000, "0 2m 4m 6m"),
        (9_000_000, "0 30m 1h 1h 30m 2h 2h 30m"),
        (50 * 365 * DAY, "0 3285d 6570d 9855d 13140d 16425d"),
    ],
)
def test_axis_has_few_round_labels(length: int, labels: str) -> None:
    assert " ".join(text for _, text in labels_of_axis(length)) == labels


def test_axis_of_a_growing_execution_stays_until_it_is_full() -> None:
    assert {stable_length(length) for length in range(10_001, 12_001, 100)} == {12_000}
    assert stable_length(0) == 1


@pytest.mark.parametrize(
    ("text", "before", "at"),
    [
        ("attempt 2 failed: no; next at 2026-11-30T09:00:00Z", "attempt 2 failed: no; next at ", NOW),
        ("a.1: waiting until 2026-11-30T09:00:00Z", "a.1: waiting until ", NOW),
        ("a\nb; next at 2026-11-30T09:00:00Z", "a\nb; next at ", NOW),
        ("waiting until never", "waiting until never", None),
        ("next at 2026-11-30T09:00:00Z; none is connected", "next at 2026-11-30T09:00:00Z; none is connected", None),
        ("next at 2026-99-30T09:00:00Z", "next at 2026-99-30T09:00:00Z", None),
        ("ValueError: 2026-11-30T09:00:00Z", "ValueError: 2026-11-30T09:00:00Z", None),
    ],
)
def test_instant_at_the_end_of_a_wait_is_found(text: str, before: str, at: int | None) -> None:
    assert final_instant(text) == (before, at)
