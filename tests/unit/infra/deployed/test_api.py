"""Settings, admission and CORS of the API function."""

from typing import Any

import pytest

from resonate_infra.deployed.api import Api, ApiSettings
from resonate_store.settings import SettingsError
from tests.support.tokens import public

TABLE = {"RESONATE_TABLE": "promises"}


def test_api_settings_are_read_from_the_environment() -> None:
    environment = {
        **TABLE,
        "RESONATE_GROUPS": '{"worker": "lambda://w"}',
        "RESONATE_AUTH_PUBLIC_KEY": "pem",
        "RESONATE_AUTH_ISS": "us",
        "RESONATE_AUTH_AUD": "api",
        "RESONATE_CORS_ORIGINS": "https://a.example, http://localhost:3000,",
    }

    assert ApiSettings.of(environment) == ApiSettings(
        table="promises",
        groups={"worker": "lambda://w"},
        public_key="pem",
        issuer="us",
        audience="api",
        origins=("https://a.example", "http://localhost:3000"),
    )


def test_empty_variable_of_the_api_is_not_set() -> None:
    empty = dict.fromkeys(
        ("RESONATE_AUTH_PUBLIC_KEY", "RESONATE_AUTH_ISS", "RESONATE_AUTH_AUD", "RESONATE_CORS_ORIGINS"), ""
    )

    assert ApiSettings.of(TABLE | empty) == ApiSettings(table="promises", groups={})


def test_invalid_setting_is_named() -> None:
    for environment, message in (
        ({}, "lacks RESONATE_TABLE"),
        ({**TABLE, "RESONATE_CORS_ORIGINS": "example.com"}, "RESONATE_CORS_ORIGINS names 'example.com'"),
        ({**TABLE, "RESONATE_GROUPS": "[]"}, "RESONATE_GROUPS"),
    ):
        with pytest.raises(SettingsError, match=message):
            ApiSettings.of(environment)


SIGNED = {"identity": {"userArn": "arn:aws:iam::123456789012:user/operator"}}
UNSIGNED: tuple[Any, ...] = ({"identity": {"userArn": None}}, {"identity": None}, {})


def test_invalid_public_key_admits_no_caller() -> None:
    for key in ("none", "nonsense"):
        with pytest.raises(SettingsError, match="RESONATE_AUTH_PUBLIC_KEY"):
            Api({**TABLE, "RESONATE_AUTH_PUBLIC_KEY": key}).admits(SIGNED)


def test_api_without_key_admits_callers_that_aws_identifies() -> None:
    assert Api(TABLE).admits(SIGNED)
    assert [Api(TABLE).admits(context) for context in UNSIGNED] == [False] * 3
    assert Api({**TABLE, "AWS_SAM_LOCAL": "true"}).admits(UNSIGNED[0])
    keyed = Api({**TABLE, "RESONATE_AUTH_PUBLIC_KEY": public("ed25519")})
    assert [keyed.admits(context) for context in (SIGNED, *UNSIGNED)] == [True] * 4


def test_cors_admits_listed_origins_or_all() -> None:
    assert Api(TABLE).cors("https://a.example") == {}
    assert Api({**TABLE, "RESONATE_CORS_ORIGINS": "*"}).cors("https://a.example")["Access-Control-Allow-Origin"] == "*"
    assert Api({**TABLE, "RESONATE_CORS_ORIGINS": "*"}).cors(None) == {}
