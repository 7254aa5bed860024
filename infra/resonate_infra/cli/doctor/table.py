"""Checks of the table of promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resonate_infra.cli.doctor.findings import Remark, Subject, code_of, error, ok, warning

Keys = dict[str, str]
"""Names of key attributes, and whether each is the HASH or the RANGE key."""
VIEW = "NEW_AND_OLD_IMAGES"
RESTORE = "use the table of the deployment, or restore it as the page Operate of the documentation says"


def table(subject: Subject) -> Iterator[Remark]:
    name = str(subject.session.table)
    try:
        subject.table = subject.client("dynamodb").describe_table(TableName=name)["Table"]
    except Exception as raised:
        if code_of(raised) != "ResourceNotFoundException":
            raise
        yield error(f"{name} does not exist in this account and region", "correct --table, AWS_PROFILE or AWS_REGION")
        return
    status = subject.table["TableStatus"]
    if status in ("ACTIVE", "UPDATING"):
        yield ok(name)
    else:
        yield error(f"{name} is {status}", "wait until it is ACTIVE")


def keys(subject: Subject) -> Iterator[Remark]:
    """Compare the keys of the table and of its indexes with those of the store."""
    from resonate_store.dynamo.models import PromiseModel

    model: Any = PromiseModel
    indexes: list[Any] = [model.wake.Meta, model.executions.Meta]
    found = {each["IndexName"]: each for each in subject.table.get("GlobalSecondaryIndexes", [])}
    wrong = False
    if (own := _described(subject.table)) != (expected := _wanted(model.get_attributes())):
        wrong = True
        yield error(f"the keys of the table are {_shown(own)}, not {_shown(expected)}", RESTORE)
    for meta in indexes:
        name, wanted = meta.index_name, _wanted(meta.attributes)
        if name not in found:
            wrong = True
            yield error(f"the index {name} is missing", "deploy the newest template")
        elif (at := _described(found[name])) != wanted:
            wrong = True
            yield error(f"the keys of the index {name} are {_shown(at)}, not {_shown(wanted)}", RESTORE)
    if not wrong:
        yield ok(f"{_shown(expected)}, and the indexes {', '.join(meta.index_name for meta in indexes)}")


def _described(described: Mapping[str, Any]) -> Keys:
    return {key["AttributeName"]: key["KeyType"] for key in described["KeySchema"]}


def _wanted(attributes: Mapping[str, Any]) -> Keys:
    keys = (each for each in attributes.values() if each.is_hash_key or each.is_range_key)
    return {key.attr_name: "HASH" if key.is_hash_key else "RANGE" for key in keys}


def _shown(keys: Keys) -> str:
    return ", ".join(sorted(keys, key=lambda name: keys[name]))


def expiry(subject: Subject) -> Iterator[Remark]:
    """Check that DynamoDB deletes expired items. Otherwise executions are kept forever."""
    from pynamodb.attributes import TTLAttribute

    from resonate_store.dynamo.models import ExpiryModel

    model: Any = ExpiryModel
    (wanted,) = (name for name, kind in model.get_attributes().items() if isinstance(kind, TTLAttribute))
    name = subject.session.table
    found = subject.client("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if found["TimeToLiveStatus"] in ("ENABLED", "ENABLING") and found.get("AttributeName") == wanted:
        yield ok(f"by {wanted}")
        return
    way = f"--time-to-live-specification Enabled=true,AttributeName={wanted}"
    yield error(
        "expired items are not deleted, so every execution is kept",
        f"aws dynamodb update-time-to-live --table-name {name} {way}",
    )


def stream(subject: Subject) -> Iterator[Remark]:
    found = subject.table.get("StreamSpecification", {})
    if found.get("StreamEnabled") and found.get("StreamViewType") == VIEW:
        yield ok(VIEW)
        return
    state = f"has only {found['StreamViewType']}" if found.get("StreamEnabled") else "is off"
    yield error(
        f"the stream {state}, so the dispatcher cannot deliver",
        f"turn it on with {VIEW}, and deploy with ExistingTableStream",
    )


def backups(subject: Subject) -> Iterator[Remark]:
    name = subject.session.table
    answer = subject.client("dynamodb").describe_continuous_backups(TableName=name)
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if found.get("PointInTimeRecoveryStatus") == "ENABLED":
        yield ok("point-in-time recovery is on")
        return
    way = "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    yield warning(
        "point-in-time recovery is off, so lost data cannot be restored",
        f"aws dynamodb update-continuous-backups --table-name {name} {way}",
    )
