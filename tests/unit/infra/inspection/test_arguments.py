"""Arguments of the command line."""

from __future__ import annotations

import pytest

from resonate_infra.inspection.arguments import arguments_of, json_of, milliseconds_of, pairs_of
from resonate_infra.inspection.exits import USAGE, Failure

DURATIONS = {
    "30": 30_000,
    "0.5": 500,
    "250ms": 250,
    "90s": 90_000,
    "15m": 900_000,
    "1.5h": 5_400_000,
    "7d": 604_800_000,
}


def test_durations_are_seconds_or_have_a_unit(subtests: pytest.Subtests) -> None:
    assert {text: milliseconds_of(text, "--timeout") for text in DURATIONS} == DURATIONS
    for text in ("", "soon", "-1", "1w", "1 h", "1e3", "inf"):
        with subtests.test(text):
            with pytest.raises(
                Failure, match=r"^--timeout must be a duration such as 30, 1.5h or 7d .*, got "
            ) as failed:
                milliseconds_of(text, "--timeout")
            assert failed.value.code == USAGE


def test_arguments_are_json(subtests: pytest.Subtests) -> None:
    positional, named = arguments_of(["1", '"a"', "null"], ["x=[1]", 'y={"=": "="}'])
    assert (positional, named) == ((1, "a", None), {"x": [1], "y": {"=": "="}})

    for text in ("EUR", "{", "", "Infinity", "[" * 100_000):
        with subtests.test(text[:10]), pytest.raises(Failure, match=r"^--arg 2 is no JSON: "):
            arguments_of(["1", text], [])
    with pytest.raises(Failure, match="a text has to be quoted: '\"EUR\"'"):
        json_of("EUR", "--arg 1")


def test_pairs_have_a_name(subtests: pytest.Subtests) -> None:
    for text in ("name", "=text", ""):
        with subtests.test(text), pytest.raises(Failure, match=r"^--tag must be NAME=TEXT, got "):
            pairs_of([text], "--tag")
