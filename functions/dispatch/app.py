"""Dispatch function: it carries out the effects that other processes announce, and posts HTTP pushes."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response  # pyright: ignore[reportUnknownVariableType]
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from resonate_infra.deployed.dispatch import REMOVAL_MS
from resonate_infra.deployed.observability import Observability, fields_of
from resonate_infra.deployed.wiring import Wiring
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ambient

observability = Observability()
wiring = Wiring(observability.observe, observability.count)
logger = logging.getLogger("resonate.dispatch")
changes = BatchProcessor(EventType.DynamoDBStreams, raise_on_entire_batch_failure=False, logger=logger)
pushes = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False, logger=logger)

RESERVE_MS = 5_000
"""The last part of an invocation, in which no new push or deletion is started."""


@observability.handler
def handler(event: dict[str, Any], context: Any) -> Any:
    """Process a batch of the table's stream or of the push queue, and return the records that failed.

    Lambda delivers the failed records again.
    """
    match event:
        case {"Records": [{"eventSource": "aws:dynamodb"}, *_]}:
            until = ambient().now() + REMOVAL_MS
            outcomes = wiring.side_by_side(partial(deliver, until), event["Records"])
            delivered = {
                record["dynamodb"]["SequenceNumber"]: outcome
                for record, outcome in zip(event["Records"], outcomes, strict=True)
            }
            return process_partial_response(event, partial(on_change, delivered), changes, context)
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            deadline = ambient().now() + context.get_remaining_time_in_millis() - RESERVE_MS
            failures = wiring.dispatch.queue_messages([record["body"] for record in event["Records"]], deadline)
            outcomes = {
                record["messageId"]: failure for record, failure in zip(event["Records"], failures, strict=True)
            }
            return process_partial_response(event, partial(on_push, outcomes), pushes, context)
        case _:
            raise ValueError("expected a batch of DynamoDB stream records or of SQS messages")


def deliver(removing_until: int, record: dict[str, Any]) -> Change:
    with observability.named(fields_of(record)):
        return wiring.dispatch.stream_record(record, removing_until)


def on_change(outcomes: Mapping[str, Any], record: DynamoDBRecord) -> None:
    outcome = outcomes[record.raw_event["dynamodb"]["SequenceNumber"]]
    if isinstance(outcome, Exception):
        raise outcome
    observability.change(outcome, ambient().now(), starts=wiring.counts_start_of(outcome))


def on_push(failures: Mapping[str, Exception | None], record: SQSRecord) -> None:
    failure = failures[record.message_id]
    if failure is not None:
        raise failure
