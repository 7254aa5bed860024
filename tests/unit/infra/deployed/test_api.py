"""The environment of the API function."""

from typing import Any

import pytest

from resonate_infra.deployed.api import Api, ApiSettings
from resonate_store.settings import SettingsError
from tests.support.tokens import public

TABLE = {"RESONATE_TABLE": "promises"}


def test_the_settings_are_those_of_the_environment() -> None:
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


def test_what_is_empty_is_not_set() -> None:
    empty = dict.fromkeys(
        ("RESONATE_AUTH_PUBLIC_KEY", "RESONATE_AUTH_ISS", "RESONATE_AUTH_AUD", "RESONATE_CORS_ORIGINS"), ""
    )

    assert ApiSettings.of(TABLE | empty) == ApiSettings(table="promises", groups={})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "lacks RESONATE_TABLE"),
        ({**TABLE, "RESONATE_CORS_ORIGINS": "example.com"}, "RESONATE_CORS_ORIGINS names 'example.com'"),
        ({**TABLE, "RESONATE_GROUPS": "[]"}, "RESONATE_GROUPS"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ApiSettings.of(environment)


@pytest.mark.parametrize("key", ["none", "nonsense"])
def test_a_key_that_will_not_do_lets_nobody_in(key: str) -> None:
    api = Api({**TABLE, "RESONATE_AUTH_PUBLIC_KEY": key})

    with pytest.raises(SettingsError, match="RESONATE_AUTH_PUBLIC_KEY"):
        api.admits({"identity": {"userArn": "arn:aws:iam::123456789012:user/operator"}})


@pytest.mark.parametrize(
    ("context", "admitted"),
    [
        ({"identity": {"userArn": "arn:aws:iam::123456789012:user/operator"}}, True),
        ({"identity": {"userArn": None}}, False),
        ({"identity": None}, False),
        ({}, False),
    ],
)
def test_without_a_key_the_caller_is_known_to_aws(context: dict[str, Any], admitted: bool) -> None:
    assert Api(TABLE).admits(context) is admitted
    assert Api({**TABLE, "RESONATE_AUTH_PUBLIC_KEY": public("ed25519")}).admits(context) is True


def test_any_origin_is_one_that_is_listed_or_all() -> None:
    assert Api(TABLE).cors("https://a.example") == {}
    assert Api({**TABLE, "RESONATE_CORS_ORIGINS": "*"}).cors("https://a.example")["Access-Control-Allow-Origin"] == "*"
    assert Api({**TABLE, "RESONATE_CORS_ORIGINS": "*"}).cors(None) == {}


@pytest.mark.parametrize(("sam", "admitted"), [({}, False), ({"AWS_SAM_LOCAL": "true"}, True)])
def test_only_under_sam_local_somebody_who_did_not_sign_is_admitted(sam: dict[str, str], admitted: bool) -> None:
    assert Api({**TABLE, **sam}).admits({"identity": {"userArn": None}}) is admitted
