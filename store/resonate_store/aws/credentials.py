"""Credentials and regions from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from resonate_store.aws.errors import NoAwsCredentials, NoAwsRegion


class AwsCredentials(NamedTuple):
    """An access key, with the session token of temporary credentials. Its text does not contain the secrets."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"AwsCredentials({self.access_key!r}, ...)"


def credentials_of(environment: Mapping[str, str]) -> AwsCredentials:
    """Return the credentials in the environment.

    Clients read them for every request. Lambda sets them once for a process, but tests and programs change them.

    Raises:
        NoAwsCredentials: one of the two keys is missing.
    """
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        raise NoAwsCredentials("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set")
    token = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_SECURITY_TOKEN")
    return AwsCredentials(access_key, secret_key, token or None)


def region_in(environment: Mapping[str, str]) -> str | None:
    """Return the region that the environment sets, or None. `AWS_DEFAULT_REGION` comes first, as in boto3."""
    return environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or None


def region_of(environment: Mapping[str, str]) -> str:
    """Return the region that the environment sets. Lambda sets both variables.

    Raises:
        NoAwsRegion: neither is set.
    """
    region = region_in(environment)
    if region is None:
        raise NoAwsRegion("You must specify a region.")
    return region
