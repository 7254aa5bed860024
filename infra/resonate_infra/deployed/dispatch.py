"""Dispatcher: consumer of the table's stream, and of the push queue that it fills.

A stream record contains the item before and after a write. `effects` needs nothing else (docs/rules.md W8). If
DynamoDB, SQS or Scheduler fails, an effect fails and so does its stream record. Lambda then delivers the record again.
All effects are idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from resonate_infra.effects.sinks import StreamOutlets
from resonate_infra.effects.transports import TOTAL_TIMEOUT_S, ForbiddenAddress, Pusher
from resonate_infra.json_types import is_object
from resonate_store.delivery.outlets import deliver
from resonate_store.delivery.writer import give_up
from resonate_store.dynamo.debug_items import DynamoDebug, released_of
from resonate_store.dynamo.items import Expiry, entry_of, expiry_of, is_entry
from resonate_store.interface import StoreError
from resonate_store.machine.effects import Change, Execute, Prune, Unblock, message_of
from resonate_store.model.addresses import problem_with
from resonate_store.model.records import Entry, Record
from resonate_store.model.requests import PromiseGet

TIME_TO_LIVE = "dynamodb.amazonaws.com"
"""The principal in the stream record of an item that DynamoDB has deleted because it expired."""
SMALL_TREE = 25
"""Maximum records of a tree that the stream's consumer deletes itself. Resumes in the same batch wait meanwhile.

A larger tree is left to the push queue.
"""
MAX_DELETIONS = 1_000
"""Maximum records of a tree that one message deletes. A new message continues with the rest."""
REMOVAL_MS = 1_000
"""Milliseconds for which a batch of the stream or of the queue may delete. The rest is put on the queue."""
PUSH_MS = round(TOTAL_TIMEOUT_S * 1000) + 1_000
"""Milliseconds that the pushes of a batch take at most, in total. They run at the same time."""

EXPECTED = "expected {address, message}, {address, settled}, {expired} or {outdated}"

logger = logging.getLogger("resonate.dispatch")


class MalformedRecord(ValueError):
    """A record of the stream or a message of the queue has an unknown form."""


class Dispatch:
    """Handler of stream records and of messages of the push queue.

    Args:
        outlets: where effects are delivered.
        pusher: posts messages over HTTP.
        enqueue: puts a message (`Errand`) on the push queue.
        debug: knows whether the deployment is stopped and which messages are held back. None if debug requests are off.
    """

    def __init__(
        self, outlets: StreamOutlets, pusher: Pusher, enqueue: Callable[[Any], None], debug: DynamoDebug | None = None
    ) -> None:
        self._outlets = outlets
        self._pusher = pusher
        self._enqueue = enqueue
        self._debug = debug
        self._removing_until: int | None = None
        outlets.prune_with = self._outdated

    def stream_record(self, record: dict[str, Any], removing_until: int | None = None) -> Change:
        """Deliver the effects of one write.

        Args:
            record: the write as a DynamoDB stream record.
            removing_until: the instant (ms) after which the deletion of a tree is left to the queue.

        Returns:
            The entry before and after the write. Both are None if nothing was to be delivered: the deployment is
            stopped, a message was released, or an execution has expired.

        Raises:
            MalformedRecord: the record has no images.
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
        self._removing_until = removing_until  # the same for all records of a batch
        # A change that is announced later touches the record without a new `rev`: everything is outstanding.
        touched = change.before is not None and change.after is not None and change.before.rev == change.after.rev
        deliver(Change(None, change.after) if touched else change, self._outlets)
        return change

    def queue_messages(self, bodies: Sequence[str], deadline: int | None = None) -> list[Exception | None]:
        """Carry out a batch of messages of the push queue. Post all pushes at the same time, then delete trees.

        If there is not enough time for a message, it is put on the queue again as a new message. A new message can be
        received at once. Its count of receptions begins again; this count decides about the dead-letter queue.

        Args:
            bodies: the bodies of the messages.
            deadline: the instant (ms) by which everything must be done.

        Returns:
            The error of each message, or None. It is `MalformedRecord` if the body has an unknown form.
        """
        failures: list[Exception | None] = [None] * len(bodies)
        pushes: dict[int, tuple[str, dict[str, Any]]] = {}
        deletions: dict[int, Expiry | Prune] = {}
        for number, body in enumerate(bodies):
            try:
                errand = _errand(body)
                if (doomed := errand.expired or errand.outdated) is not None:
                    deletions[number] = doomed
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
                    give_up(self._outlets.apply, message, f"its target {address}: {outcome}")
                elif isinstance(outcome, Exception):
                    raise outcome
            except Exception as error:
                failures[number] = error
        until = self._outlets.store.clock.now() + REMOVAL_MS
        if deadline is not None:
            until = min(until, deadline)
        for number, doomed in deletions.items():
            try:
                if not (self._has_time(until) and self._delete(doomed, MAX_DELETIONS, until)):
                    self._enqueue(_deletion_of(doomed))
            except Exception as error:
                failures[number] = error
        return failures

    def queue_message(self, body: str) -> None:
        """Carry out one message of the push queue.

        Raises:
            MalformedRecord: the body has an unknown form.
        """
        (failure,) = self.queue_messages([body])
        if failure is not None:
            raise failure

    def _push_of(self, errand: Errand) -> tuple[str, dict[str, Any]] | None:
        """Return the address and the message to post. Return None if there is nothing to post over HTTP."""
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
        """Return the unblock message of a settled promise. Return None if the promise was deleted.

        Raises:
            StoreError: the promise cannot be read.
        """
        response = self._outlets.apply(PromiseGet(id))
        if response.status >= 500:
            raise StoreError(f"{id!r} cannot be read: {response.error}")
        promise = response.promise
        if promise is None or promise.state == "pending":
            logger.warning("%s is not notified of %s, which was deleted", address, id)
            return None
        return message_of(Unblock(address, promise))

    def _has_time(self, deadline: int | None, milliseconds: int = 0) -> bool:
        return deadline is None or self._outlets.store.clock.now() + milliseconds <= deadline

    def _lets_go(self, image: dict[str, Any] | None) -> bool:
        """Send a message that was held back, if the write releases one. Return whether it does."""
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
        """Delete the expired tree if it is small and there is time. Otherwise leave it to the queue.

        Resumes in the same batch wait for the deletion, so a large tree is not deleted here. If the deletion fails, the
        queue continues it too. Without the queue, a stream record that Lambda gives up would be lost: the sweep does
        not look for expired trees. But a dead letter of the push queue can be sent again.
        """
        self._delete_small(expiry, until)

    def _outdated(self, outdated: Prune) -> None:
        """Delete the earlier generations of an execution, as `_expired` deletes a tree."""
        self._delete_small(outdated, self._removing_until)

    def _delete_small(self, doomed: Expiry | Prune, until: int | None) -> None:
        gone = False
        try:
            gone = self._has_time(until) and self._delete(doomed, SMALL_TREE, whole=True)
        except StoreError as error:
            logger.warning("deleting %s is left to the push queue: %s", doomed.id, error)
        if not gone:
            self._enqueue(_deletion_of(doomed))

    def _delete(self, doomed: Expiry | Prune, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete an expired tree or earlier generations. Return False if a new message has to delete the rest."""
        store = self._outlets.store
        if isinstance(doomed, Prune):
            return store.delete_generations(doomed, most, until, whole=whole)
        return store.delete_tree(doomed, most, until, whole=whole)


class Errand(msgspec.Struct, omit_defaults=True):
    """Message of the push queue: a push, or records to delete.

    Attributes:
        address: where to post.
        message: the message to post.
        settled: the id of a settled promise to post instead. Its values may be too large for a queue.
        expired: the expired tree to delete.
        outdated: the execution whose earlier generations to delete.
    """

    address: str | None = None
    message: dict[str, Any] | None = None
    settled: str | None = None
    expired: Expiry | None = None
    outdated: Prune | None = None


def _deletion_of(doomed: Expiry | Prune) -> dict[str, Any]:
    return {"outdated" if isinstance(doomed, Prune) else "expired": doomed}


def _errand(body: str) -> Errand:
    try:
        return msgspec.json.decode(body, type=Errand)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise MalformedRecord(f"{EXPECTED}: {error}") from None


def _expiry(record: dict[str, Any]) -> Expiry | None:
    """Return the retention marker in a stream record if DynamoDB removed it because it expired, otherwise None.

    A marker can also be removed for another reason, such as a deletion by hand.
    """
    remover: dict[str, Any] = record.get("userIdentity") or {}
    if record.get("eventName") != "REMOVE" or remover.get("principalId") != TIME_TO_LIVE:
        return None
    return expiry_of(record["dynamodb"]["OldImage"])


def _entry(image: dict[str, Any] | None) -> Entry | None:
    return entry_of(image) if image is not None and is_entry(image) else None
