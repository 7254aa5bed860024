"""What triggers need to know about the events of each source: their names, their fields and their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.data_classes.s3_event import S3EventRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from resonate_infra.triggers.errors import UnusableEventError

R = TypeVar("R")


@dataclass(frozen=True)
class TriggerSource(Generic[R]):
    """Source of events.

    Attributes:
        called: returns the name of an event, for errors.
        unique: returns a text that names the event, the same for each delivery.
        fields: the fields that an id template can have. Each is a function of the event.
        content: returns the argument of the execution.
    """

    called: Callable[[R], str]
    unique: Callable[[R], str]
    fields: Mapping[str, Callable[[R], Any]]
    content: Callable[[R], Any]


# --- SQS


def _body(record: SQSRecord) -> Any:
    try:
        return record.json_body
    except ValueError as error:
        raise UnusableEventError(
            f"the body is not JSON: {error}; for another format use arguments=lambda record: (record.body,)"
        ) from None


SQS = TriggerSource[SQSRecord](
    called=lambda record: f"message {record.message_id}",
    unique=lambda record: record.message_id,
    fields={
        "messageId": lambda record: record.message_id,
        "body": _body,
        "attributes": lambda record: record.raw_event.get("attributes"),
        "messageAttributes": lambda record: record.raw_event.get("messageAttributes"),
    },
    content=_body,
)

# --- EventBridge

_ENVELOPE = ("id", "source", "detail-type", "account", "region", "time", "detail")

EVENTBRIDGE = TriggerSource[EventBridgeEvent](
    called=lambda event: f"event {event.raw_event.get('id')}",
    unique=lambda event: event.get_id,
    fields={name: lambda event, name=name: event.raw_event.get(name) for name in _ENVELOPE},
    content=lambda event: event.detail,
)

# --- S3


def _change(record: S3EventRecord) -> dict[str, Any]:
    """Return what an S3 record says about its object."""
    s3 = record.raw_event["s3"]
    # Events of Intelligent-Tiering name their object so.
    thing: dict[str, Any] = s3.get("get_object") or s3["object"]
    return {
        "event": record.event_name,
        "time": record.event_time,
        "bucket": s3["bucket"]["name"],
        "key": unquote_plus(thing["key"]),
        "version": thing.get("versionId"),
        "sequencer": thing.get("sequencer"),
        "size": thing.get("size"),
        "etag": thing.get("eTag"),
    }


def _object_event(record: S3EventRecord) -> str:
    """Return bucket, key and sequencer. Only events of writes and deletions have a sequencer."""
    change = _change(record)
    marks = (change["sequencer"],) if change["sequencer"] else (change["version"], change["event"], change["time"])
    return "/".join((change["bucket"], change["key"], *(mark or "null" for mark in marks)))


S3 = TriggerSource[S3EventRecord](
    called=lambda record: f"event of {_object_event(record)}",
    unique=_object_event,
    fields={
        name: lambda record, name=name: _change(record)[name]
        for name in ("event", "time", "bucket", "key", "version", "sequencer", "size", "etag")
    },
    content=_change,
)

# --- DynamoDB


def _written(record: DynamoDBRecord) -> dict[str, Any]:
    """Return the change of an item, in plain JSON types."""
    stream = record.dynamodb
    if stream is None:
        raise UnusableEventError("the record has no member 'dynamodb'")
    return {
        "event": record.raw_event.get("eventName"),
        "keys": _plain(stream.keys),
        "new_image": _plain(stream.new_image) if "NewImage" in stream.raw_event else None,
        "old_image": _plain(stream.old_image) if "OldImage" in stream.raw_event else None,
    }


def _plain(value: Any) -> Any:
    """Return a value of DynamoDB with JSON's numbers, and lists in place of sets.

    A number that a float cannot hold stays a Decimal.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, set)):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else value
    return value


DYNAMODB = TriggerSource[DynamoDBRecord](
    called=lambda record: f"stream record {record.event_id}",
    unique=lambda record: str(record.raw_event["eventID"]),
    fields={
        "eventID": lambda record: record.event_id,
        **{
            name: lambda record, name=name: _written(record)[name]
            for name in ("event", "keys", "new_image", "old_image")
        },
    },
    content=_written,
)
