"""Endpoints of AWS services, and whether the clients of this folder can call them.

The clients implement what a Lambda function needs: credentials and a region from the environment, and TLS with the
public certificates. `reason_for_boto3` names anything else that the environment asks for. boto3 implements all of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from resonate_store.aws.credentials import region_in
from resonate_store.settings import SettingsError

CLIENT_VARIABLE: Final = "RESONATE_CLIENT"
"""`boto3` forces boto3. Not set, empty or `auto`: boto3 is used only if the environment needs it."""

_DOMAINS: Final = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
)
"""The domain of a partition, by the beginning of its regions' names. All other regions are in `amazonaws.com`."""

_NOT_IMPLEMENTED: Final = (
    ("AWS_PROFILE", "a profile"),
    ("AWS_DEFAULT_PROFILE", "a profile"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "credentials of a container"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "credentials of a container"),
)
"""Variables that ask for something that the clients do not implement, whatever their value."""

_NOT_IMPLEMENTED_IN_URLS: Final = (
    ("AWS_USE_FIPS_ENDPOINT", "FIPS endpoints", ("", "false")),
    ("AWS_USE_DUALSTACK_ENDPOINT", "dual-stack endpoints", ("", "false")),
    ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "endpoints of an account", ("", "disabled")),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignored endpoint URLs", ("", "false")),
)
"""The same, with the values that ask for nothing."""

_BUNDLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def endpoint_of(service: str, region: str, environment: Mapping[str, str]) -> str:
    """Return the URL of a service that the environment sets, or else the URL in the region.

    `AWS_ENDPOINT_URL_DYNAMODB`, `_LAMBDA` and `_SQS` come before `AWS_ENDPOINT_URL`. An empty value counts as not set.
    """
    named = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL")
    if named:
        return named
    domain = next((domain for prefix, domain in _DOMAINS if region.startswith(prefix)), "amazonaws.com")
    return f"https://{service}.{region}.{domain}"


def reason_for_boto3(service: str, environment: Mapping[str, str], *, network: bool = True) -> str | None:
    """Return why boto3 has to call a service. Return None if the client of this folder can.

    Args:
        service: the service's name.
        environment: the environment.
        network: whether requests go over the network. A transport in its place needs no proxy, certificate or endpoint.

    Raises:
        SettingsError: `RESONATE_CLIENT` has an unknown value.
    """
    choice = environment.get(CLIENT_VARIABLE) or "auto"
    if choice not in ("auto", "boto3"):
        raise SettingsError(f"{CLIENT_VARIABLE} must be 'boto3', 'auto' or empty, got {choice!r}")
    if choice == "boto3":
        return f"{CLIENT_VARIABLE} asks for it"
    if not environment.get("AWS_ACCESS_KEY_ID") or not environment.get("AWS_SECRET_ACCESS_KEY"):
        return "the environment has no AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
    region = region_in(environment)
    if region is None:
        return "the environment has no AWS_DEFAULT_REGION or AWS_REGION"
    if not (region.isascii() and region.replace("-", "").isalnum()):
        return f"{region!r} is not the name of a region"  # and would lead to another host
    for name, meaning in _NOT_IMPLEMENTED:
        if environment.get(name):
            return f"{name} asks for {meaning}"
    if environment.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        return "SnapStart gives each restored process other credentials"
    return _reason_of_network(endpoint_of(service, region, environment), environment) if network else None


def _reason_of_network(url: str, environment: Mapping[str, str]) -> str | None:
    for name, meaning, nothing in _NOT_IMPLEMENTED_IN_URLS:
        if (environment.get(name) or "").lower() not in nothing:
            return f"{name} asks for {meaning}"
    if not _is_plain(url):
        return "the endpoint is not a URL of a scheme, a host, a port and a path"  # and may contain a password
    scheme = urlsplit(url).scheme
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
        if environment.get(name):
            return f"{name} asks for a proxy"
    if scheme == "https":
        for name in _BUNDLES:
            if environment.get(name):
                return f"{name} asks for certificates of its own"
    return _reason_of_files(environment)


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and not parts.query
            and not parts.fragment
            and url.isascii()
            and url.isprintable()
            and " " not in url
            and (parts.port or 1) > 0
        )
    except ValueError:
        return False


def _reason_of_files(environment: Mapping[str, str]) -> str | None:
    """Return which configuration file exists. It may set endpoints, proxies, certificates and attempts."""
    for name, usual in (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")):
        path = Path(os.path.expanduser(environment.get(name) or usual))
        try:
            if path.stat().st_size > 0:
                return f"there is a configuration file {path}"
        except OSError:
            continue
    return None
