"""What follows a write: the consumer of the table's stream, and of the push queue that it fills.

A stream record carries both images of one item, all that `effects` needs (docs/rules.md W8). An effect that fails
because DynamoDB, SQS or Scheduler does makes its record fail, and Lambda sends it again; everything is idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from resonate_infra.effects.sinks import StreamOutlets
from resonate_infra.effects.transports import TOTAL_TIMEOUT_S, ForbiddenAddress, Pusher
from resonate_infra.json_types import is_object
from resonate_store.dynamo.debug_items import DynamoDebug, released_of
from resonate_store.dynamo.items import Expiry, entry_of, expiry_of, is_entry
from resonate_store.interface import StoreError, deliver
from resonate_store.machine.effects import Change, Execute, Unblock, message_of
from resonate_store.model.addresses import problem_with
from resonate_store.model.records import Entry, Record
from resonate_store.model.requests import PromiseGet

TIME_TO_LIVE = "dynamodb.amazonaws.com"
"""Who removes what has expired, as the stream tells it."""
SMALL_TREE = 25
"""Records of a tree that is deleted by the stream's consumer, while resumes wait; a larger one is left to the queue."""
MAX_DELETIONS = 1_000
"""Records of a tree that one message deletes; what is left goes on with the next."""
REMOVAL_MS = 1_000
"""How long a batch of the stream or of the queue may delete; what is left goes to the queue, one by one."""
PUSH_MS = round(TOTAL_TIMEOUT_S * 1000) + 1_000
"""Time that pushes take at most, all of them together."""

EXPECTED = "expected {address, message}, {address, settled} or {expired}"

logger = logging.getLogger("resonate.dispatch")


class MalformedRecord(ValueError):
    """A record of the stream or the queue that is none of ours."""


class Dispatch:
    """Carries out what the records of a batch ask for.

    Args:
        outlets: where effects go.
        pusher: posts messages over HTTP.
        enqueue: puts an errand on the push queue.
        debug: says whether the deployment is stopped, and lets messages go; None where nobody can stop it.
    """

    def __init__(
        self, outlets: StreamOutlets, pusher: Pusher, enqueue: Callable[[Any], None], debug: DynamoDebug | None = None
    ) -> None:
        self._outlets = outlets
        self._pusher = pusher
        self._enqueue = enqueue
        self._debug = debug

    def stream_record(self, record: dict[str, Any], removing_until: int | None = None) -> Change:
        """Carry out the effects of one write, given as a DynamoDB stream record.

        Args:
            record: the stream record.
            removing_until: the instant (ms) after which no tree is deleted, but left to the queue.

        Returns:
            The write; none if the deployment is stopped, and nothing was done.

        Raises:
            MalformedRecord: it is no such record.
        """
        images = record.get("dynamodb")
        if not is_object(images) or "Keys" not in images:
            raise MalformedRecord("expected a DynamoDB stream record with its images")
        expiry = _expiry(record)
        if self._debug is not None and (self._lets_go(images.get("NewImage")) or self._debug.paused()):
            if expiry is not None:
                self._outlets.store.reconsider(expiry)
            return Change(None, None)
        if expiry is not None:
            self._expired(expiry, removing_until)
            return Change(None, None)
        change = Change(_entry(images.get("OldImage")), _entry(images.get("NewImage")))
        if isinstance(change.after, Record):
            self._outlets.store.remember(change.after)
        deliver(change, self._outlets)
        return change

    def queue_messages(self, bodies: Sequence[str], deadline: int | None = None) -> list[Exception | None]:
        """Do what a batch of messages of the push queue asks for: post messages, all at the same time, and delete.

        A message without time left is sent to the queue again as a new message. It can be received at once, and its
        receptions, which lead to the dead letters, count anew.

        Args:
            bodies: the bodies of the messages.
            deadline: the instant (ms) by which all is to be done.

        Returns:
            For each message why it failed, or None. `MalformedRecord` if it is not such a message.
        """
        failures: list[Exception | None] = [None] * len(bodies)
        pushes: dict[int, tuple[str, dict[str, Any]]] = {}
        deletions: dict[int, Expiry] = {}
        for number, body in enumerate(bodies):
            try:
                errand = _errand(body)
                if errand.expired is not None:
                    deletions[number] = errand.expired
                elif not self._has_time(deadline, PUSH_MS):
                    self._enqueue(errand)
                elif (push := self._push_of(errand)) is not None:
                    pushes[number] = push
            except Exception as error:
                failures[number] = error
        outcomes = self._pusher.push_all(list(pushes.values()))
        for (number, (address, message)), outcome in zip(pushes.items(), outcomes, strict=True):
            try:
                if isinstance(outcome, ForbiddenAddress):
                    self._outlets.give_up(message, f"its target {address}: {outcome}")
                elif isinstance(outcome, Exception):
                    raise outcome
            except Exception as error:
                failures[number] = error
        until = self._outlets.store.clock.now() + REMOVAL_MS
        if deadline is not None:
            until = min(until, deadline)
        for number, expiry in deletions.items():
            try:
                if self._has_time(until):
                    self._delete(expiry, until)
                else:
                    self._enqueue({"expired": expiry})
            except Exception as error:
                failures[number] = error
        return failures

    def queue_message(self, body: str) -> None:
        """Do what one message of the push queue asks for.

        Raises:
            MalformedRecord: it is no such message.
        """
        (failure,) = self.queue_messages([body])
        if failure is not None:
            raise failure

    def _push_of(self, errand: Errand) -> tuple[str, dict[str, Any]] | None:
        """The address and the message to post there; None if there is nothing to post."""
        address, message = errand.address, errand.message
        if address is None or (message is None) == (errand.settled is None):
            raise MalformedRecord(EXPECTED)
        if problem := problem_with(address):
            raise MalformedRecord(problem)
        if errand.settled is not None:
            message = self._notice(address, errand.settled)
        if message is not None and address.startswith("lambda://"):
            self._outlets.send(address, message)
            return None
        return None if message is None else (address, message)

    def _notice(self, address: str, id: str) -> dict[str, Any] | None:
        """The message that tells a listener of a settled promise; None if the promise is gone.

        Raises:
            StoreError: the promise cannot be read.
        """
        response = self._outlets.apply(PromiseGet(id))
        if response.status >= 500:
            raise StoreError(f"{id!r} cannot be read: {response.error}")
        promise = response.promise
        if promise is None or promise.state == "pending":
            logger.warning("%s is not notified of %s, which is gone", address, id)
            return None
        return message_of(Unblock(address, promise))

    def _has_time(self, deadline: int | None, milliseconds: int = 0) -> bool:
        return deadline is None or self._outlets.store.clock.now() + milliseconds <= deadline

    def _lets_go(self, image: dict[str, Any] | None) -> bool:
        """Send a message that was held back; returns whether a write was about that."""
        released = None if image is None else released_of(image)
        if released is None or self._debug is None:
            return False
        if released.version is not None:
            self._outlets.send(released.address, message_of(Execute(released.address, released.id, released.version)))
        elif (record := self._outlets.store.record(released.id)) is not None and not record.pending:
            self._outlets.notify(released.address, record.promise())
        self._debug.forget(released)
        return True

    def _expired(self, expiry: Expiry, until: int | None) -> None:
        """Delete a small tree, if there is time, and leave any other to the queue: resumes wait meanwhile.

        If it fails a message takes it on, too: of a stream record that is given up nothing is left but its position,
        and no sweep looks for what has expired; a message can be sent again when all is well.
        """
        gone = False
        try:
            gone = self._has_time(until) and self._outlets.store.delete_tree(expiry, SMALL_TREE, whole=True)
        except StoreError as error:
            logger.warning("deleting %s is left to the push queue: %s", expiry.id, error)
        if not gone:
            self._enqueue({"expired": expiry})

    def _delete(self, expiry: Expiry, until: int) -> None:
        """Delete the tree whose retention is over, or a part of it, and leave what remains to another message."""
        if not self._outlets.store.delete_tree(expiry, MAX_DELETIONS, until):
            self._enqueue({"expired": expiry})


class Errand(msgspec.Struct, omit_defaults=True):
    """A message on the push queue: what to post where, or a root to continue deleting.

    What is posted is `message`, or the settled promise with the id `settled`, whose values may be too large for a
    queue.
    """

    address: str | None = None
    message: dict[str, Any] | None = None
    settled: str | None = None
    expired: Expiry | None = None


def _errand(body: str) -> Errand:
    try:
        return msgspec.json.decode(body, type=Errand)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise MalformedRecord(f"{EXPECTED}: {error}") from None


def _expiry(record: dict[str, Any]) -> Expiry | None:
    """The retention marker that DynamoDB has removed because its time was over; anybody else may remove one, too."""
    remover: dict[str, Any] = record.get("userIdentity") or {}
    if record.get("eventName") != "REMOVE" or remover.get("principalId") != TIME_TO_LIVE:
        return None
    return expiry_of(record["dynamodb"]["OldImage"])


def _entry(image: dict[str, Any] | None) -> Entry | None:
    return entry_of(image) if image is not None and is_entry(image) else None
