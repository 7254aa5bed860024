"""Store in DynamoDB: runs the machine's transitions on one table (docs/rules.md D1 to D12).

An operation reads what its transition needs, runs it, and writes the outcome. The write has the condition that the
records are unchanged. A failed condition starts the operation again on the true images, up to `max_attempts` times.
Predictions replace most reads, so a local step costs one write.

A `Delivery` carries out the effects of the writes. What it does not reach it announces: the write has the attribute
`effects`, and the table's stream brings it to the dispatcher. Without a delivery, every such write is announced.

If there is a bucket (`payloads`), large values are stored in S3. Records have claims in their place, and responses have
the values. Transitions do not look at values, so they work with either.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from resonate_store.delivery.writer import Delivery, owed, repeated_id
from resonate_store.dynamo.client import ConditionFailed, TableClient, TransactionRefused, Unavailable, pages
from resonate_store.dynamo.items import (
    SHARDS,
    AnyItem,
    depth_prefix,
    entry_of,
    table_key,
    task_projection,
)
from resonate_store.dynamo.known import Known, Memory
from resonate_store.dynamo.large_values import (
    Missing,
    Payloads,
    Uploads,
    claims_in,
    outdated_claims,
    promises_in,
    response_with_values,
    with_values,
)
from resonate_store.dynamo.maintenance import Maintenance
from resonate_store.dynamo.search import DynamoSearch, counted
from resonate_store.dynamo.table import RetryingTable
from resonate_store.dynamo.writes import Announce, TooLarge, failure_of, write_of, written
from resonate_store.interface import Store, StoreError
from resonate_store.machine import (
    NeedChildren,
    NeedCounts,
    NeedPage,
    NeedSchedule,
    Outcome,
    already_delivered,
    decide,
    perform,
)
from resonate_store.machine.draft import Need
from resonate_store.machine.effects import Change, effects
from resonate_store.model import addresses
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.ids import SEPARATORS, Identify, below, family, random_id
from resonate_store.model.message_requests import StatePut
from resonate_store.model.records import Claim, Entry, Key, PromiseView, Record, Value, key_of
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseDelivered,
    PromiseGet,
    PromiseSearch,
    PromiseWake,
    Request,
    Response,
    SettleAndResume,
    TaskCreate,
    TaskFence,
    TaskResume,
    TaskVerify,
)
from resonate_store.model.schedule_requests import ScheduleCreate
from resonate_store.model.tags import TARGET

PRELOADED_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of large values `children` reads. A caller asks for each further value."""

logger = logging.getLogger("resonate.store")

_UNSEEN: Final = (PromiseDelivered, PromiseWake, TaskResume)
"""Requests whose caller does not use the values in the response."""


class DynamoStore(Maintenance, Store):
    """A promise store in a DynamoDB table.

    Args:
        table: the name of the table.
        client: a botocore client for DynamoDB. None creates one from the environment when it is first used.
        clock: the source of time, also for pauses between tries.
        identify: makes the tokens that name writes.
        groups: the push address of each worker group, if no worker can poll. A target of another group is refused.
        shards: how many partitions each index has. It must be the same for all processes that use the table.
        jitter: returns random numbers in [0, 1), which spread the pauses of competing processes.
        max_attempts: how often a call or an operation is tried before the answer is 503.
        payloads: where large values are stored. None keeps all values in the table.
        width: how many requests run at the same time when an execution is deleted.
        delivery: delivers the effects of this store's writes. None leaves all of them to the dispatcher.
    """

    def __init__(
        self,
        table: str,
        *,
        client: TableClient | None = None,
        clock: Clock | None = None,
        identify: Identify = random_id,
        groups: Mapping[str, str] | None = None,
        shards: int = SHARDS,
        jitter: Callable[[], float] | None = None,
        max_attempts: int = 6,
        payloads: Payloads | None = None,
        width: int = 1,
        delivery: Delivery | None = None,
    ) -> None:
        clock = clock or ambient()
        connection = RetryingTable(table, client, clock, jitter or random.Random().random, max_attempts)
        super().__init__(table, clock, shards, width, connection)
        self.groups = groups
        self._identify = identify
        self._payloads = payloads
        self.delivery = delivery
        self._memory = Memory()

    def open(self) -> DynamoStore:
        """Return a store for one invocation: same connection, its own memory of records, closed separately."""
        store = copy(self)
        store._table = self._table.open()
        store._memory = Memory()
        return store

    def close(self) -> None:
        """Close this store. Every later call raises `StoreClosed`, also in a thread that thaws after the invocation."""
        self._table.close()

    def apply(self, request: Request) -> Response:
        """Carry out one request. `delivery`, or the dispatcher, carries out its effects."""
        return self.transact(request)[0] if self.delivery is None else self.delivery.apply(request, self)

    @property
    def registers_singly(self) -> bool:
        return True

    @property
    def takes_messages(self) -> bool:
        return True

    @property
    def hands_over_callers(self) -> bool:
        return self.delivery is not None and self.delivery.announces != "everything"

    def delivered_by(self, delivery: Delivery) -> DynamoStore:
        """Return this store with another delivery of its effects."""
        store = copy(self)
        store.delivery = delivery
        return store

    def transact(
        self, request: Request, *, announce: bool = True, delivery: Delivery | None = None
    ) -> tuple[Response, list[Change]]:
        """Carry out one request.

        Args:
            request: any request.
            announce: whether the dispatcher carries out the effects. If false, the caller does.
            delivery: decides that for each change instead.

        Returns:
            The response, and the changes whose effects the caller has to carry out.
        """
        self._table.require_open()
        if isinstance(request, ExecutionDelete):
            return self._deleted(request), []
        problem = self._unreachable(request)
        if problem is not None:
            return Response(status=400, error=problem), []
        changes: list[Change] = []

        def run(operation: Request) -> Response:
            announces: Announce = delivery.leaves if delivery is not None else lambda _: announce
            return self._run(operation, announces, delivery, changes)

        response = perform(request, run)
        if isinstance(request, _UNSEEN) and response.task is None:
            return response, changes
        try:
            return self._shown(response), changes
        except Missing:
            if not isinstance(request, (PromiseGet, PromiseSearch)):
                raise
        # The promise was deleted between the two reads, so the request is repeated without it.
        return self._shown(perform(request, run)), changes

    def children(self, id: str, separator: str = ".") -> list[PromiseView]:
        """Return the children as `Store.children` does.

        Large outcomes are read, up to `PRELOADED_BYTES` in total. Other large values are claims.
        """
        now = self.clock.now()
        records = self._children(id, separator)
        promises = [record.promise() for record in records if not record.pending or record.timeout_at > now]
        claims: list[Claim] = []
        left = PRELOADED_BYTES
        for promise in promises:
            if isinstance(promise.value, Claim) and promise.value.size <= left:
                claims.append(promise.value)
                left -= promise.value.size
        if not claims:
            return promises
        values = self._values(claims)
        return [with_values(promise, values) for promise in promises]

    def record(self, id: str) -> Record | None:
        """Return the record as it is stored. Large values are claims."""
        entry = self._read([("promise", id)])["promise", id]
        return entry if isinstance(entry, Record) else None

    def remember(self, record: Record) -> None:
        """Note a record that was read elsewhere as the latest image. If it is outdated, a conditional write fails."""
        self._memory.remember({key_of(record): record})

    def connect(self) -> None:
        """Create the client now.

        Lambda gives more processor time to the initialisation of a function than to its invocations.
        """
        self._table.connect()

    def _run(
        self, operation: Request, announces: Announce, delivery: Delivery | None, changes: list[Change]
    ) -> Response:
        """Carry out one operation, and add the changes to `changes` whose effects are not announced."""
        if isinstance(operation, TaskVerify):
            return self._verified(operation)
        known = Known(self._memory.predict(operation))
        uploads = Uploads(self._payloads)
        for attempt in range(self._table.max_attempts):
            if attempt > 1:  # the first failure usually is a wrong prediction, not a competing write
                self._table.pause(attempt)
            try:
                outcome = self._decide(operation, known)
                if not outcome.changes:
                    if delivery is not None:
                        changes += owed(known.current(("promise", repeated_id(operation))))
                    return outcome.response
                outcome = self._table.retrying(partial(uploads.offloaded, outcome))
                if delivery is not None:
                    outcome = self._retained(outcome, delivery)
                outdated: Mapping[Key, Entry | None] | None = None
                for part in _parts(operation, outcome):
                    outdated, announced = self._write(part, announces)
                    if outdated is not None:
                        break
                    done = uploads.confirmed(part)
                    if isinstance(operation, StatePut):
                        self._disclaim(part)
                    self._memory.remember(written(done))
                    known.outdate(written(done))
                    changes += [change for change in done.changes if not _is_announced(change, announced, delivery)]
            except TooLarge as error:
                return Response(status=413, error=str(error))
            except TransactionRefused as error:
                status = 413 if "maximum allowed size" in str(error) else 400
                return Response(status=status, error=f"DynamoDB does not take this: {error}")
            except Unavailable as error:
                return Response(status=503, error=str(error))
            if outdated is None:
                return outcome.response
            known.outdate(outdated)
        return Response(
            status=503,
            error=f"given up after {self._table.max_attempts} tries: others keep writing to the same records",
        )

    def _verified(self, request: TaskVerify) -> Response:
        """Answer whether a task is held. One GetItem reads the task and no values."""
        arguments = {
            "TableName": self.table,
            "Key": table_key(("promise", request.id)),
            "ConsistentRead": request.consistent,
            **task_projection(),
        }
        item = self._table.call("get_item", arguments).get("Item")
        record = None if item is None else entry_of(item)
        return decide(request, self.clock.now(), lambda _need: (record,)).response

    def _decide(self, operation: Request, known: Known) -> Outcome:
        now = self.clock.now()
        while True:
            outcome = decide(operation, now, lambda need: self._answer(need, known))
            unproven = known.unproven(outcome)
            if not unproven:
                return outcome
            known.learn(self._read(unproven))

    def _answer(self, need: Need, known: Known) -> Any:
        if isinstance(need, NeedChildren):
            separators = SEPARATORS if need.generation is None else (below(need.generation),)
            return tuple(record for separator in separators for record in self._children(need.id, separator))
        if isinstance(need, NeedPage):
            return DynamoSearch(
                need, table=self.table, shards=self.shards, call=self._table.call, read=self._read
            ).page()
        if isinstance(need, NeedCounts):
            return counted(need, table=self.table, shards=self.shards, call=self._table.call, read=self._read)
        one = isinstance(need, NeedSchedule)
        keys: list[Key] = [("schedule", need.id)] if one else [("promise", id) for id in need.ids]
        known.learn(self._read(known.missing(keys)))
        entries = known.entries(keys)
        return entries[0] if one else tuple(entries)

    def _write(self, outcome: Outcome, announces: Announce) -> tuple[Mapping[Key, Entry | None] | None, frozenset[Key]]:
        """Write the outcome.

        Returns:
            The present entries if a record has changed, else None; and the keys whose effects are announced.
        """
        token = self._identify()
        write = write_of(outcome, table=self.table, token=token, announce=announces, shards=self.shards)
        try:
            self._table.call(write.operation, write.arguments)
        except ConditionFailed as failure:
            entries, ours = failure_of(write, self._images(write.keys, failure.images))
            self._memory.remember(entries)
            return (None if ours else entries), write.announced
        return None, write.announced

    def _disclaim(self, outcome: Outcome) -> None:
        """Leave large values to the cleanup of unclaimed uploads, because no record claims them any more."""
        keys = outdated_claims(outcome)
        if keys:
            try:
                self._table.retrying(lambda: self._objects.disclaim(keys))
            except (StoreError, Unavailable) as error:
                logger.warning("replaced large values stay in S3: %s", error)

    def _retained(self, outcome: Outcome, delivery: Delivery) -> Outcome:
        """Put the retention markers of roots that settle and have no other effect, and say so in their records.

        The marker is put first. If the write fails after it, the marker of a pending root is ignored when it expires.
        """
        changes = list(outcome.changes)
        for position, (before, after) in enumerate(changes):
            if isinstance(after, Record) and not after.pending and delivery.marks(effects(before, after)):
                self.retain(after.id, after.created_at, after.settled_at or after.timeout_at, delivery.retention_s or 0)
                changes[position] = Change(before, already_delivered(after))
        return replace(outcome, changes=tuple(changes))

    def _images(self, keys: Sequence[Key], images: Mapping[int, AnyItem | None]) -> Mapping[int, AnyItem | None]:
        """Return the images of a failed write by position, and read those that are missing.

        A missing image can mean that the item does not exist. But some endpoints do not send the images.
        """
        unseen = {str(table_key(keys[position])): position for position, image in images.items() if image is None}
        if not unseen:
            return images
        read: dict[int, AnyItem | None] = {}
        for item in self._table.items([table_key(keys[position]) for position in unseen.values()]):
            read[unseen[str({"pk": item["pk"], "sk": item["sk"]})]] = item
        return {**images, **read}

    def _read(self, keys: Collection[Key]) -> dict[Key, Entry | None]:
        """Return the present entries of these keys."""
        entries: dict[Key, Entry | None] = dict.fromkeys(keys)
        for item in self._table.items([table_key(key) for key in entries]):
            entry = entry_of(item)
            entries[key_of(entry)] = entry
        self._memory.remember(entries)
        return entries

    def _children(self, id: str, separator: str = ".") -> list[Record]:
        partition, prefix = depth_prefix(id, 1, separator)
        query = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": partition, ":prefix": prefix},
        }
        entries = [entry_of(item) for item in pages(self._table.call, "query", query)]
        self._memory.remember({key_of(entry): entry for entry in entries})
        of = id + separator if separator[-1] == "+" else id  # the prefix of the first generation is that of all
        return [entry for entry in entries if isinstance(entry, Record) and family(entry.id) == of]

    @property
    def _objects(self) -> Payloads:
        """The bucket of the large values.

        Raises:
            StoreError: the store has no bucket.
        """
        if self._payloads is None:
            raise StoreError(
                f"table {self.table!r} has values in S3: set RESONATE_BUCKET to the bucket of its deployment"
            )
        return self._payloads

    def _values(self, claims: Sequence[Claim]) -> dict[str, Value]:
        return self._table.retrying(lambda: self._objects.values(claims))

    def _shown(self, response: Response) -> Response:
        """Return the response with large values in place of their claims."""
        claims = [claim for promise in promises_in(response) for claim in claims_in(promise)]
        return response_with_values(response, self._values(claims)) if claims else response

    def _unreachable(self, request: Request) -> str | None:
        """Return why the target of a request is refused where no worker polls, or None (docs/rules.md V12)."""
        match request:
            case (
                PromiseCreate(tags=tags)
                | TaskCreate(promise=PromiseCreate(tags=tags))
                | TaskFence(action=PromiseCreate(tags=tags))
                | ScheduleCreate(promise_tags=tags)
            ):
                target = tags.get(TARGET)
            case _:
                return None
        return None if self.groups is None or target is None else addresses.unserved(target, self.groups)


def _parts(operation: Request, outcome: Outcome) -> list[Outcome]:
    """Return the writes of an outcome, in order. It is one, unless a task can be resumed before its promise settles."""
    if not isinstance(operation, SettleAndResume) or len(outcome.changes) < 2:
        return [outcome]
    return [Outcome(outcome.response, (change,)) for change in reversed(outcome.changes)]


def _is_announced(change: Change, announced: frozenset[Key], delivery: Delivery | None) -> bool:
    """Return whether the stream brings a change to the dispatcher. It always brings deletions."""
    if change.after is None:
        return delivery is not None and delivery.announces != "nothing"
    return key_of(change.after) in announced
