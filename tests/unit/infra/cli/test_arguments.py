"""What users write on the command line, read."""

from __future__ import annotations

import pytest

from resonate_infra.cli.arguments import arguments_of, json_of, milliseconds_of, pairs_of
from resonate_infra.cli.exits import USAGE, Failure


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("30", 30_000),
        ("0.5", 500),
        ("250ms", 250),
        ("90s", 90_000),
        ("15m", 900_000),
        ("1.5h", 5_400_000),
        ("7d", 604_800_000),
    ],
)
def test_durations_are_seconds_or_have_a_unit(text: str, milliseconds: int) -> None:
    assert milliseconds_of(text, "--timeout") == milliseconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1w", "1 h", "1e3", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Failure, match=r"^--timeout must be a duration such as 30, 1.5h or 7d .*, got ") as refused:
        milliseconds_of(text, "--timeout")
    assert refused.value.code == USAGE


def test_arguments_are_json() -> None:
    positional, named = arguments_of(["1", '"a"', "null"], ["x=[1]", 'y={"=": "="}'])

    assert (positional, named) == ((1, "a", None), {"x": [1], "y": {"=": "="}})


@pytest.mark.parametrize("text", ["EUR", "{", "", "Infinity", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Failure, match=r"^--arg 2 is no JSON: "):
        arguments_of(["1", text], [])


def test_a_text_without_its_quotes_is_shown_with_them() -> None:
    with pytest.raises(Failure, match="a text has to be quoted: '\"EUR\"'"):
        json_of("EUR", "--arg 1")


@pytest.mark.parametrize("text", ["name", "=text", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(Failure, match=r"^--tag must be NAME=TEXT, got "):
        pairs_of([text], "--tag")
