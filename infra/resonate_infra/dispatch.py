"""What follows a write: the consumer of the table's stream, and of the push queue that it fills.

A stream record carries both images of one item, which is all that `effects` needs (DESIGN 4). An effect that fails
because DynamoDB, SQS or Scheduler does makes its record fail, and Lambda sends it again; everything is idempotent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from resonate_infra.outlets import StreamOutlets
from resonate_infra.transports import Pusher
from resonate_store.addresses import problem_with
from resonate_store.effects import Change
from resonate_store.interface import deliver
from resonate_store.models import entry_of, expiry_of
from resonate_store.records import Entry, Record


class MalformedRecord(ValueError):
    """A record of the stream or the queue that is none of ours."""


class Dispatch:
    """Carries out what the records of a batch ask for.

    Args:
        outlets: where effects go.
        pusher: posts messages over HTTP.
    """

    def __init__(self, outlets: StreamOutlets, pusher: Pusher) -> None:
        self._outlets = outlets
        self._pusher = pusher

    def stream_record(self, record: dict[str, Any]) -> None:
        """Carry out the effects of one write, given as a DynamoDB stream record.

        Raises:
            MalformedRecord: it is no such record.
        """
        images = record.get("dynamodb")
        if not isinstance(images, dict) or "Keys" not in images:
            raise MalformedRecord("expected a DynamoDB stream record with its images")
        change = Change(_entry(images.get("OldImage")), _entry(images.get("NewImage")))
        if isinstance(change.after, Record):
            self._outlets.store.remember(change.after)
        deliver(change, self._outlets)

    def push_message(self, body: str) -> None:
        """Post one message of the push queue.

        Raises:
            MalformedRecord: it is no such message.
        """
        try:
            push = msgspec.json.decode(body, type=Push)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise MalformedRecord(f"a push message is {{address, message}}: {error}") from None
        if problem := problem_with(push.address):
            raise MalformedRecord(problem)
        self._pusher.push(push.address, push.message)


class Push(msgspec.Struct):
    """A message on the push queue."""

    address: str
    message: dict[str, Any]


def _entry(image: dict[str, Any] | None) -> Entry | None:
    if image is None or expiry_of(image) is not None:
        return None
    return entry_of(image)
