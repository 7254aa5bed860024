from __future__ import annotations

import pytest

from resonate_store.settings import SettingsError, groups_of, number_of, pin_alias_of, push_token_of


def test_settings_that_are_missing_have_defaults() -> None:
    environments: list[dict[str, str]] = [{}, {"RESONATE_GROUPS": "", "RESONATE_PUSH_TOKEN": "", "N": ""}]
    for environment in environments:
        assert groups_of(environment) is None
        assert push_token_of(environment) is None
        assert number_of(environment, "N", 7) == 7


def test_settings_that_are_valid_are_returned() -> None:
    assert groups_of({"RESONATE_GROUPS": '{"g": "lambda://f"}'}) == {"g": "lambda://f"}
    assert push_token_of({"RESONATE_PUSH_TOKEN": "s3cret!"}) == "s3cret!"
    assert number_of({"N": "12"}, "N", 7) == 12


def read(environment: dict[str, str]) -> None:
    groups_of(environment)
    push_token_of(environment)
    number_of(environment, "N", 1)


def test_settings_that_are_malformed_are_named(subtests: pytest.Subtests) -> None:
    for name, text, message in (
        ("RESONATE_GROUPS", "{", "must be a JSON object"),
        ("RESONATE_GROUPS", '{"g": 1}', "must be a JSON object"),
        ("RESONATE_GROUPS", '{"g": "nowhere"}', "maps 'g' to something that is no address"),
        ("RESONATE_GROUPS", '{"g": "poll://any@h"}', ".* a group is served by a push address"),
        ("RESONATE_PUSH_TOKEN", "a b", "must be printable ASCII without spaces"),
        ("RESONATE_PUSH_TOKEN", "é", "must be printable ASCII without spaces"),
        ("N", "0", "must be a whole number of at least 1, got '0'"),
        ("N", "1.5", "must be a whole number of at least 1, got '1.5'"),
        ("N", "²", "must be a whole number of at least 1, got '²'"),
    ):
        with subtests.test(name, text=text), pytest.raises(SettingsError, match=f"{name} {message}"):
            read({name: text})


def test_pin_alias_is_the_name_of_an_alias(subtests: pytest.Subtests) -> None:
    assert [pin_alias_of(each) for each in ({}, {"RESONATE_PIN_ALIAS": ""})] == [None, None]
    assert pin_alias_of({"RESONATE_PIN_ALIAS": "live"}) == "live"
    for alias in ("7", "two words", "a:b"):
        with (
            subtests.test(alias),
            pytest.raises(SettingsError, match="RESONATE_PIN_ALIAS must be the name of an alias"),
        ):
            pin_alias_of({"RESONATE_PIN_ALIAS": alias})
