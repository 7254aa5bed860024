"""Lambda handlers that start executions from events of SQS, EventBridge, S3 and DynamoDB streams (docs/triggers.md)::

    from resonate import Resonate
    from resonate_infra.triggers import sqs_handler

    handler = sqs_handler(Resonate(), "order", id="order-{body[orderId]}", target="lambda://orders-worker")

An event starts one execution, also if it is delivered twice: its id follows from the event.
"""

from resonate_infra.triggers.errors import UnusableEventError
from resonate_infra.triggers.handlers import dynamodb_handler, eventbridge_handler, s3_handler, sqs_handler

__all__ = ["UnusableEventError", "dynamodb_handler", "eventbridge_handler", "s3_handler", "sqs_handler"]
