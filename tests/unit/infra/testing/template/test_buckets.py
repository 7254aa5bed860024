"""Buckets in moto."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from resonate_infra.testing.template.buckets import create_bucket, delete_bucket, empty_bucket, keys_in
from resonate_infra.testing.template.template import TemplateError


def test_bucket_is_created_emptied_and_deleted() -> None:
    with mock_aws():
        client = boto3.Session("testing", "testing", region_name="eu-west-1").client
        bucket = create_bucket(client, "Values" * 20, {})
        assert bucket == ("values" * 20)[:63]
        for key in ("a", "b/c"):
            client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
        assert keys_in(client, bucket) == ["a", "b/c"]
        empty_bucket(client, bucket)
        assert keys_in(client, bucket) == []
        delete_bucket(client, bucket)
        assert bucket not in [each["Name"] for each in client("s3").list_buckets()["Buckets"]]


def test_bucket_with_an_unsupported_property_is_refused() -> None:
    with pytest.raises(TemplateError, match="Values: no offline counterpart known for Tags"):
        create_bucket(boto3.client, "Values", {"Tags": []})
