"""Endpoints of services, and the environments in which boto3 calls them."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.session import Session

from resonate_store.aws.credentials import region_of
from resonate_store.aws.endpoints import endpoint_of, reason_for_boto3
from resonate_store.aws.errors import NoAwsRegion
from resonate_store.settings import SettingsError

BARE = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
REGIONS = [
    "us-east-1",
    "eu-central-1",
    "mx-central-1",
    "cn-north-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eu-isoe-west-1",
    "us-isof-south-1",
    "eusc-de-east-1",
]


@pytest.mark.parametrize("region", REGIONS)
def test_endpoint_of_a_region_is_that_of_boto3(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    session = boto3.Session("k", "s", region_name=region, botocore_session=Session())
    config = Config(account_id_endpoint_mode="disabled")
    for service in ("dynamodb", "lambda", "sqs"):
        expected = session.client(service, config=config).meta.endpoint_url  # pyright: ignore[reportArgumentType, reportCallIssue]
        assert endpoint_of(service, region, {}) == expected


def test_partitions_of_botocore_have_their_domains() -> None:
    partitions = Session().get_component("data_loader").load_data("partitions")["partitions"]
    for partition in partitions:
        for region in partition["regions"]:
            if not region.endswith("-global"):
                assert endpoint_of("sqs", region, {}).endswith(f".{region}.{partition['outputs']['dnsSuffix']}")


def test_endpoint_of_the_service_comes_before_that_of_all() -> None:
    environment = {
        "AWS_ENDPOINT_URL": "http://all:1",
        "AWS_ENDPOINT_URL_SQS": "http://sqs:2",
        "AWS_ENDPOINT_URL_LAMBDA": "",
    }

    assert endpoint_of("sqs", "us-east-1", environment) == "http://sqs:2"
    assert endpoint_of("lambda", "us-east-1", environment) == "http://all:1"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"AWS_ENDPOINT_URL": "http://localhost:4566"},
        {"AWS_ENDPOINT_URL_DYNAMODB": "https://[::1]:8000/prefix/"},
        {"AWS_USE_FIPS_ENDPOINT": "false", "AWS_PROFILE": "", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
        {"RESONATE_CLIENT": "auto"},
        {"RESONATE_CLIENT": ""},
        {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"},
        {"AWS_ENDPOINT_URL": "http://localhost:4566", "AWS_CA_BUNDLE": "/ca.pem", "HTTPS_PROXY": "http://proxy"},
    ],
)
def test_environment_of_a_function_needs_no_boto3(more: dict[str, str]) -> None:
    assert reason_for_boto3("dynamodb", BARE | more) is None


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"RESONATE_CLIENT": "boto3"}, "RESONATE_CLIENT asks for it"),
        ({"AWS_ACCESS_KEY_ID": ""}, "no AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"),
        ({"AWS_REGION": ""}, "no AWS_DEFAULT_REGION or AWS_REGION"),
        ({"AWS_PROFILE": "work"}, "AWS_PROFILE asks for a profile"),
        ({"AWS_DEFAULT_PROFILE": "work"}, "AWS_DEFAULT_PROFILE asks for a profile"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, "SnapStart"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "AWS_USE_FIPS_ENDPOINT asks for FIPS"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "True"}, "AWS_USE_DUALSTACK_ENDPOINT asks for dual-stack"),
        ({"AWS_ACCOUNT_ID_ENDPOINT_MODE": "preferred"}, "AWS_ACCOUNT_ID_ENDPOINT_MODE"),
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
        ({"HTTPS_PROXY": "http://proxy"}, "HTTPS_PROXY asks for a proxy"),
        ({"https_proxy": "http://proxy"}, "https_proxy asks for a proxy"),
        ({"http_proxy": "http://proxy", "AWS_ENDPOINT_URL": "http://x"}, "http_proxy asks for a proxy"),
        ({"AWS_CA_BUNDLE": "/ca.pem"}, "AWS_CA_BUNDLE asks for certificates"),
        ({"REQUESTS_CA_BUNDLE": "/ca.pem"}, "REQUESTS_CA_BUNDLE asks for certificates"),
        ({"AWS_ENDPOINT_URL": "unix:///socket"}, "the endpoint is not a URL of"),
        ({"AWS_ENDPOINT_URL": "http://me:secret@host"}, "the endpoint"),
        ({"AWS_ENDPOINT_URL": "http://host/?a=b"}, "the endpoint"),
        ({"AWS_ENDPOINT_URL": "http://host:port"}, "the endpoint"),
        ({"AWS_ENDPOINT_URL": "http://host\r\nx: y"}, "the endpoint"),
        ({"AWS_REGION": "example.com/"}, "'example.com/' is not the name of a region"),
        ({"AWS_REGION": "us east-1"}, "'us east-1' is not the name of a region"),
    ],
)
def test_settings_that_need_boto3_are_named(more: dict[str, str], reason: str) -> None:
    found = reason_for_boto3("dynamodb", BARE | more)

    assert found is not None
    assert reason in found
    assert "secret" not in found, "the reason is logged"


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_configuration_file_with_content_needs_boto3(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may set endpoints, proxies or a certificate."""
    monkeypatch.setenv("HOME", str(tmp_path))
    bare = {key: value for key, value in BARE.items() if not key.endswith("_FILE")}
    assert reason_for_boto3("sqs", bare) is None

    path = tmp_path / ".aws" / name
    path.parent.mkdir()
    path.write_text("[default]\nuse_fips_endpoint = true\n")
    assert reason_for_boto3("sqs", bare) == f"there is a configuration file {path}"


def test_transport_in_place_of_the_network_needs_no_network_settings() -> None:
    more = {"HTTPS_PROXY": "http://proxy", "AWS_CA_BUNDLE": "/ca.pem", "AWS_USE_FIPS_ENDPOINT": "true"}

    assert reason_for_boto3("dynamodb", BARE | more, network=False) is None
    assert reason_for_boto3("dynamodb", BARE | {"RESONATE_CLIENT": "boto3"}, network=False) is not None


def test_unknown_client_is_refused() -> None:
    with pytest.raises(SettingsError, match="RESONATE_CLIENT must be 'boto3', 'auto' or empty, got 'curl'"):
        reason_for_boto3("dynamodb", BARE | {"RESONATE_CLIENT": "curl"})


def test_region_is_read_as_boto3_reads_it() -> None:
    assert region_of({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}) == "us-east-1"
    assert region_of({"AWS_REGION": "eu-west-1"}) == "eu-west-1"
    with pytest.raises(NoAwsRegion):
        region_of({"AWS_REGION": ""})
