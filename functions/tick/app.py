"""Tick function: it handles firings of timers and schedules, one message or a batch of the timer queue, and sweeps."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response  # pyright: ignore[reportUnknownVariableType]
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from resonate_infra.deployed.observability import Observability, fields_of_message
from resonate_infra.deployed.wiring import Wiring
from resonate_infra.effects.tick import Message, message_of, queued_message_of
from resonate_store.model.clock import ambient

observability = Observability()
wiring = Wiring(observability.observe, observability.count)
logger = logging.getLogger("resonate.tick")
timers = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False, logger=logger)

RESERVE_MS = 5_000
"""The last part of an invocation, in which the sweep starts nothing new."""


@observability.handler
def handler(event: dict[str, Any], context: Any) -> Any:
    """Process a batch of the timer queue, or one message from EventBridge Scheduler or from an operator."""
    match event:
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            now = ambient().now()
            bodies = [record["body"] for record in event["Records"]]
            outcomes = wiring.side_by_side(lambda body: act(queued_message_of(body, now)), bodies)
            failures = {
                record["messageId"]: outcome for record, outcome in zip(event["Records"], outcomes, strict=True)
            }
            return process_partial_response(event, partial(on_timer, failures), timers, context)
        case _:
            return act(message_of(event), ambient().now() + context.get_remaining_time_in_millis() - RESERVE_MS)


def on_timer(outcomes: Mapping[str, Any], record: SQSRecord) -> None:
    outcome = outcomes[record.message_id]
    if isinstance(outcome, Exception):
        raise outcome


def act(message: Message, deadline: int | None = None) -> dict[str, Any]:
    with observability.named(fields_of_message(message)):
        return wiring.tick.act(message, deadline)
