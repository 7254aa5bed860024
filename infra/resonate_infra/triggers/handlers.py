"""Factories of Lambda handlers, one for each source of events.

Sources with batches report each record that failed, and Lambda delivers only these again. The other sources invoke a
function asynchronously. There an error makes Lambda retry, and then send the event to the function's destination.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,  # pyright: ignore[reportUnknownVariableType]
)
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.data_classes.s3_event import S3EventRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from resonate import Resonate
from resonate.errors import ResonateError
from resonate.validation import Seconds, require
from resonate_infra.triggers.errors import UnusableEventError
from resonate_infra.triggers.ids import IdTemplate, default_id
from resonate_infra.triggers.sources import DYNAMODB, EVENTBRIDGE, S3, SQS, TriggerSource
from resonate_store.interface import StoreError
from resonate_store.model.tags import FUNC

R = TypeVar("R")
Arguments = tuple[Any, ...] | Mapping[str, Any]
"""Positional arguments, or named ones."""

logger = logging.getLogger("resonate.triggers")


class Handler(Protocol):
    """Function that Lambda calls with an event and a context."""

    def __call__(self, event: dict[str, Any], context: Any = None, /) -> dict[str, Any]: ...


def sqs_handler(
    resonate: Resonate,
    func: Callable[..., Any] | str,
    *,
    id: str | Callable[[SQSRecord], str] | None = None,
    arguments: Callable[[SQSRecord], Arguments] | None = None,
    target: str | None = None,
    timeout: Seconds | None = None,
    tags: dict[str, str] | None = None,
    version: int | None = None,
) -> Handler:
    """Return a handler that starts an execution for each message of an SQS queue.

        handler = sqs_handler(Resonate(), "order", id="order-{body[orderId]}", target="lambda://orders-worker")

    The event source mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`, and the queue a dead-letter
    queue. A message that fails is reported. The handler starts all other messages of its batch. In a FIFO queue, later
    messages of its group in the batch are reported too, which keeps their order.

    Args:
        resonate: the connection to the promises, such as `Resonate()` or `Resonate.remote()`.
        func: the registered function, or its name.
        id: the id of the execution: a template or a function of the message. The template can have the fields
            `messageId`, `body`, `attributes` and `messageAttributes`. By default the id is made of the function's name
            and the id of the message.
        arguments: a function of the message that returns the positional arguments as a tuple, or the named ones as a
            dict. By default the body, which must be JSON, is the only argument.
        target: the worker group or address that runs the execution.
        timeout: the time until the execution times out, in seconds or as a `timedelta`; a year by default.
        tags: stored with the execution.
        version: the version of the function.

    Returns:
        A Lambda handler. It returns the messages that failed, in the form of `ReportBatchItemFailures`.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    trigger = _Trigger(SQS, resonate, func, id, arguments, target, timeout, tags, version)
    standard = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    ordered = SqsFifoPartialProcessor(skip_group_on_error=True)
    ordered.raise_on_entire_batch_failure = False

    def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        fifo = str(_records(event, "aws:sqs", "SQS messages")[0].get("eventSourceARN")).endswith(".fifo")
        return _in_batch(trigger, ordered if fifo else standard, event, context)

    return handler


def dynamodb_handler(
    resonate: Resonate,
    func: Callable[..., Any] | str,
    *,
    id: str | Callable[[DynamoDBRecord], str] | None = None,
    arguments: Callable[[DynamoDBRecord], Arguments] | None = None,
    target: str | None = None,
    timeout: Seconds | None = None,
    tags: dict[str, str] | None = None,
    version: int | None = None,
) -> Handler:
    """Return a handler that starts an execution for each record of a DynamoDB stream.

    The event source mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`, `BisectBatchOnFunctionError`, a
    limit of retries and a destination for failures. Otherwise a record that fails always holds up its shard for a day.

    Args:
        resonate, func, target, timeout, tags, version: as for `sqs_handler`.
        id: a template or a function of the record. The template can have the fields `eventID`, `event`, `keys`,
            `new_image` and `old_image`. By default the id is made of the function's name and the id of the event.
        arguments: as for `sqs_handler`. By default the only argument is a dict with the members `event` ("INSERT",
            "MODIFY", "REMOVE"), `keys`, `new_image` and `old_image`, without the types of DynamoDB.

    Returns:
        A Lambda handler. It returns the records that failed, in the form of `ReportBatchItemFailures`.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    trigger = _Trigger(DYNAMODB, resonate, func, id, arguments, target, timeout, tags, version)
    processor = BatchProcessor(EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)

    def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        _records(event, "aws:dynamodb", "records of a DynamoDB stream")
        return _in_batch(trigger, processor, event, context)

    return handler


def eventbridge_handler(
    resonate: Resonate,
    func: Callable[..., Any] | str,
    *,
    id: str | Callable[[EventBridgeEvent], str] | None = None,
    arguments: Callable[[EventBridgeEvent], Arguments] | None = None,
    target: str | None = None,
    timeout: Seconds | None = None,
    tags: dict[str, str] | None = None,
    version: int | None = None,
) -> Handler:
    """Return a handler that starts an execution for each event of an EventBridge rule.

    An event that fails raises an error, so that Lambda retries it and then sends it to the destination for failures.

    Args:
        resonate, func, target, timeout, tags, version: as for `sqs_handler`.
        id: a template or a function of the event. The template can have the fields `id`, `source`, `detail-type`,
            `account`, `region`, `time` and `detail`. By default the id is made of the function's name and the id of the
            event.
        arguments: as for `sqs_handler`. By default the detail is the only argument.

    Returns:
        A Lambda handler. It returns `{"ids": [the id of the execution]}`.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    trigger = _Trigger(EVENTBRIDGE, resonate, func, id, arguments, target, timeout, tags, version)

    def handler(event: dict[str, Any], _context: Any = None) -> dict[str, Any]:
        if not {"id", "detail-type", "detail"} <= event.keys():
            raise UnusableEventError("expected an event of EventBridge with id, detail-type and detail")
        return {"ids": [trigger.start(EventBridgeEvent(event))]}

    return handler


def s3_handler(
    resonate: Resonate,
    func: Callable[..., Any] | str,
    *,
    id: str | Callable[[S3EventRecord], str] | None = None,
    arguments: Callable[[S3EventRecord], Arguments] | None = None,
    target: str | None = None,
    timeout: Seconds | None = None,
    tags: dict[str, str] | None = None,
    version: int | None = None,
) -> Handler:
    """Return a handler that starts an execution for each event of an S3 bucket.

    An event that fails raises an error, so that Lambda retries it and then sends it to the destination for failures.

    Args:
        resonate, func, target, timeout, tags, version: as for `sqs_handler`.
        id: a template or a function of the record. The template can have the fields `event`, `time`, `bucket`, `key`,
            `version`, `sequencer`, `size` and `etag`. By default the id is made of the function's name, bucket, key and
            sequencer. Events without a sequencer have version, kind and time instead.
        arguments: as for `sqs_handler`. By default the only argument is a dict with the fields above. The key is
            decoded.

    Returns:
        A Lambda handler. It returns `{"ids": [the ids of the executions]}`.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    trigger = _Trigger(S3, resonate, func, id, arguments, target, timeout, tags, version)

    def handler(event: dict[str, Any], _context: Any = None) -> dict[str, Any]:
        if event.get("Event") == "s3:TestEvent":  # S3 sends it when notifications are configured
            return {"ids": []}
        ids: list[str] = []
        failures: list[Exception] = []
        for record in _records(event, "aws:s3", "events of S3"):
            try:
                ids.append(trigger.start(S3EventRecord(record)))
            except Exception as error:  # the other records of the event are started all the same
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup(f"{len(failures)} records started no execution", failures)
        return {"ids": ids}

    return handler


class _Trigger(Generic[R]):
    """Starter of executions, one for each event of a source."""

    def __init__(
        self,
        source: TriggerSource[R],
        resonate: Resonate,
        func: Callable[..., Any] | str,
        id: str | Callable[[R], str] | None,
        arguments: Callable[[R], Arguments] | None,
        target: str | None,
        timeout: Seconds | None,
        tags: dict[str, str] | None,
        version: int | None,
    ) -> None:
        require("resonate", resonate, Resonate)
        options = {"target": target, "timeout": timeout, "tags": tags, "version": version}
        self._resonate = resonate.options(**cast("Any", {name: at for name, at in options.items() if at is not None}))
        self._func = func
        self.name = func if isinstance(func, str) else resonate.registry.get(func, version or 0).name
        self._source = source
        self._template = IdTemplate(id, source.fields) if isinstance(id, str) else None
        self._id = id
        self._arguments = arguments
        for name, function in (("id", id), ("arguments", arguments)):
            if function is not None and not isinstance(function, str) and not callable(function):
                raise TypeError(f"{name} must be a function of the event, got {type(function).__name__}")

    def start(self, record: R) -> str:
        """Start the execution of an event, if it does not exist, and return its id.

        Raises:
            UnusableEventError: the event has no id or no arguments, or its id belongs to something else.
            Exception: the store refuses the execution or cannot be reached, or a function of the user failed.
        """
        try:
            id = self._id_of(record)
            args, kwargs = self._arguments_of(record)
            promise = self._resonate.create_execution(id, self._func, *args, **kwargs)
            if (existing := promise.tags.get(FUNC)) != self.name:
                other = f"a call of {existing!r}" if existing else "not a call"
                raise UnusableEventError(f"{id!r} exists already and is {other}: change the id of the trigger")
        except Exception as error:
            error.add_note(f"no execution of {self.name} was started for {self.called(record)}")
            raise
        logger.debug("%s is started for %s", id, self.called(record))
        return id

    def called(self, record: R) -> str:
        """Return the name of an event, for people."""
        try:
            return self._source.called(record)
        except Exception:  # a malformed record must not hide the error that it has caused
            return "a malformed event"

    def _id_of(self, record: R) -> str:
        if self._template is not None:
            return self._template.id_of(lambda name: self._source.fields[name](record))
        if callable(self._id):
            id: Any = self._id(record)
            if not isinstance(id, str):
                raise UnusableEventError(f"the function `id` must return a text, got {type(id).__name__}")
            return id
        try:
            return default_id(self.name, self._source.unique(record))
        except (KeyError, TypeError) as error:
            raise UnusableEventError(f"the event is malformed: {type(error).__name__}: {error}") from error

    def _arguments_of(self, record: R) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        if self._arguments is None:
            return (self._source.content(record),), {}
        given: Any = self._arguments(record)
        if isinstance(given, tuple):
            return cast("tuple[Any, ...]", given), {}
        if isinstance(given, Mapping):
            return (), cast("Mapping[str, Any]", given)
        raise UnusableEventError(
            "the function `arguments` must return a tuple of positional arguments or a dict of named ones, got"
            f" {type(given).__name__}"
        )


def _records(event: dict[str, Any], source: str, what: str) -> list[dict[str, Any]]:
    """Return the records of an event.

    Raises:
        UnusableEventError: the event is from another source.
    """
    match event:
        case {"Records": [{"eventSource": str(named)}, *_]} if named == source:
            return event["Records"]
        case _:
            raise UnusableEventError(f"expected {what} under 'Records': is the handler that of another source?")


def _in_batch(trigger: _Trigger[Any], processor: BatchProcessor, event: dict[str, Any], context: Any) -> dict[str, Any]:
    started = functools.partial(_start, trigger)
    return cast("dict[str, Any]", process_partial_response(event, started, processor, context))


def _start(trigger: _Trigger[R], record: R) -> str:
    try:
        return trigger.start(record)
    except Exception as error:
        expected = isinstance(error, (UnusableEventError, ResonateError, StoreError))
        what = "no execution of %s was started for %s: %s"
        logger.warning(what, trigger.name, trigger.called(record), error, exc_info=None if expected else error)
        raise
