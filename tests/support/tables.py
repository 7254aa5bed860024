"""The table of a deployment, as the models of its items describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pynamodb.attributes import Attribute, TTLAttribute

from resonate_store.dynamo.models import ExpiryModel, PromiseModel


def table_definition(table: str) -> dict[str, Any]:
    """The arguments of CreateTable, as the models have it."""
    model = PromiseModel.get_attributes()
    metas: list[Any] = [PromiseModel.wake.Meta, PromiseModel.executions.Meta]
    keys = {**model, **{name: key for meta in metas for name, key in meta.attributes.items()}}
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": key.attr_type} for name, key in keys.items() if _is_key(key)
        ],
        "KeySchema": _key_schema(model),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": meta.index_name,
                "KeySchema": _key_schema(meta.attributes),
                "Projection": {"ProjectionType": meta.projection.projection_type},
            }
            for meta in metas
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }


def expiry_definition(table: str) -> dict[str, Any]:
    """The arguments of UpdateTimeToLive, as the models have it."""
    (name,) = (name for name, kind in ExpiryModel.get_attributes().items() if isinstance(kind, TTLAttribute))
    return {"TableName": table, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": name}}


def _is_key(attribute: Attribute[Any]) -> bool:
    return attribute.is_hash_key or attribute.is_range_key


def _key_schema(attributes: Mapping[str, Attribute[Any]]) -> list[dict[str, str]]:
    keys = [attribute for attribute in attributes.values() if _is_key(attribute)]
    return [
        {"AttributeName": key.attr_name, "KeyType": "HASH" if key.is_hash_key else "RANGE"}
        for key in sorted(keys, key=lambda key: key.is_range_key)
    ]
