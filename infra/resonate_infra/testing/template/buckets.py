"""Creation, emptying and deletion of the bucket of large values in moto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resonate_infra.testing.template.template import Fragment, TemplateError

_KNOWN = (
    "BucketName",
    "BucketEncryption",
    "LifecycleConfiguration",
    "OwnershipControls",
    "PublicAccessBlockConfiguration",
)


def create_bucket(client: Any, name: str, properties: Fragment) -> str:
    """Create a bucket from its CloudFormation properties, and return its name.

    Args:
        client: returns the boto3 client of a service.
        name: the name of the bucket if the properties do not have one.
        properties: the resolved properties.

    Raises:
        TemplateError: a property is not supported here.
    """
    unknown = sorted(set(properties) - set(_KNOWN))
    if unknown:
        raise TemplateError(f"{name}: no offline counterpart known for {', '.join(unknown)}")
    # Bucket names are in lower case and have at most 63 characters, also those that CloudFormation generates.
    bucket = properties.get("BucketName", name.lower()[:63])
    s3 = client("s3")
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **place)
    if "BucketEncryption" in properties:
        rules = [
            {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
            for rule in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        ]
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    if "PublicAccessBlockConfiguration" in properties:
        s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"]
        )
    if "OwnershipControls" in properties:
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=properties["OwnershipControls"])
    if "LifecycleConfiguration" in properties:
        rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    return bucket


def keys_in(client: Any, bucket: str) -> list[str]:
    """Return the keys of all objects of a bucket."""
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def empty_bucket(client: Any, bucket: str) -> None:
    """Delete all objects of a bucket."""
    for key in keys_in(client, bucket):
        client("s3").delete_object(Bucket=bucket, Key=key)


def delete_bucket(client: Any, bucket: str) -> None:
    """Delete a bucket and all its objects."""
    empty_bucket(client, bucket)
    client("s3").delete_bucket(Bucket=bucket)


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CloudFormation lifecycle rule in the form of the S3 API, which is nested."""
    tags = rule.get("TagFilters", [])
    request: dict[str, Any] = {"ID": rule["Id"], "Status": rule["Status"]}
    request["Filter"] = {"Tag": tags[0]} if tags else {"Prefix": ""}
    if "ExpirationInDays" in rule:
        request["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        request["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return request
