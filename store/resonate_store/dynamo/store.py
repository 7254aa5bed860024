"""The store in DynamoDB: the machine's transitions over one table (docs/rules.md D1 to D12).

An operation reads what its transition needs, lets it decide, and writes the decision on condition that nothing it
rests on has changed; a failed condition starts it over on the true images, a bounded number of times. What a request
most likely finds is assumed instead of read, so that a local step costs one write and nothing else.

Effects are not carried out here: a write that has any says so in the attribute `effects`, and the table's stream
brings it to its consumer.

Large values lie in S3 if there is a bucket for them (`payloads`): a record is written with claims in their place, and
the response of a request shows them. Transitions see whichever of the two is at hand, and look at neither.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from resonate_store.dynamo.client import ConditionFailed, TableClient, TransactionRefused, Unavailable, pages
from resonate_store.dynamo.deletion import Deletion, deletable
from resonate_store.dynamo.items import (
    SHARDS,
    AnyItem,
    Expiry,
    Item,
    depth_prefix,
    entry_of,
    expiry_item,
    halted_shard,
    key_in,
    table_key,
    task_projection,
    typed,
)
from resonate_store.dynamo.known import Known, Memory
from resonate_store.dynamo.large_values import (
    Missing,
    Payloads,
    Uploads,
    claims_in,
    promises_in,
    response_with_values,
    with_values,
)
from resonate_store.dynamo.search import DynamoSearch
from resonate_store.dynamo.table import RetryingTable
from resonate_store.dynamo.writes import TooLarge, failure_of, write_of, written
from resonate_store.interface import Store, StoreError
from resonate_store.machine import NeedChildren, NeedPage, NeedSchedule, Outcome, decide, perform
from resonate_store.machine.draft import Need
from resonate_store.machine.effects import Change
from resonate_store.model import addresses
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.ids import SEPARATORS, Identify, random_id
from resonate_store.model.records import END_OF_TIME, Claim, Entry, Key, PromiseView, Record, Value, key_of
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseDelivered,
    PromiseGet,
    PromiseSearch,
    PromiseWake,
    Request,
    Response,
    ScheduleCreate,
    TaskCreate,
    TaskFence,
    TaskResume,
    TaskVerify,
)
from resonate_store.model.tags import TARGET

if TYPE_CHECKING:
    from resonate_store.dynamo.debug_items import DynamoDebug

ALL_AT_ONCE: Final = 10_000
"""Records of a deletion between two looks at the tree."""
PRELOADED: Final = 16 * 1024 * 1024
"""Bytes of large values that `children` fetches; whoever needs more of them asks for each."""

_UNSEEN: Final = (PromiseDelivered, PromiseWake, TaskResume)
"""Requests whose response nobody reads the values of."""

Position = Item
"""Where a query of an index left off."""


class DynamoStore(Store):
    """A promise store in a DynamoDB table.

    Args:
        table: the table's name.
        client: a botocore client for DynamoDB; made from the environment when first needed.
        clock: the source of time, also for pauses between tries.
        identify: makes the tokens that name writes.
        groups: where worker groups are, if nobody can poll: a target that leads nowhere is refused.
        shards: partitions of each index; the same for everybody who uses the table.
        jitter: random numbers in [0, 1) that spread the pauses of those who compete.
        max_attempts: how often anything is tried before the answer is 503.
        payloads: where large values go; None keeps all of them in the table.
        width: requests at the same time when an execution is deleted.
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
    ) -> None:
        self.table = table
        self.clock: Clock = clock or ambient()
        self.groups = groups
        self.shards = shards
        self._identify = identify
        self._payloads = payloads
        self._width = width
        self._table = RetryingTable(table, client, self.clock, jitter or random.Random().random, max_attempts)
        self._memory = Memory()

    def open(self) -> DynamoStore:
        """A store over the same connection that remembers, and is closed, by itself: one for each invocation."""
        store = copy(self)
        store._table = self._table.open()
        store._memory = Memory()
        return store

    def close(self) -> None:
        """Every later call raises `StoreClosed`: whoever thaws after the invocation's end can write nothing."""
        self._table.close()

    def apply(self, request: Request) -> Response:
        """Carry out one request; the table's stream brings its effects to those who carry them out."""
        return self.transact(request)[0]

    def transact(self, request: Request, *, announce: bool = True) -> tuple[Response, list[Change]]:
        """Carry out one request.

        Args:
            request: any request.
            announce: whether the stream's consumer is to carry out the effects; if not, the caller does.

        Returns:
            The response and what was written.
        """
        self._table.require_open()
        problem = self._unreachable(request)
        if problem is not None:
            return Response(status=400, error=problem), []
        changes: list[Change] = []
        if isinstance(request, TaskVerify):
            return perform(request, lambda _: self._verified(request)), []
        response = perform(request, lambda operation: self._run(operation, announce, changes))
        if isinstance(request, _UNSEEN):
            return response, changes
        try:
            return self._shown(response), changes
        except Missing:
            if not isinstance(request, (PromiseGet, PromiseSearch)):
                raise
        # It was deleted between the two reads; then it is not there now.
        return self._shown(perform(request, lambda operation: self._run(operation, announce, changes))), changes

    def children(self, id: str, separator: str = ".") -> list[PromiseView]:
        """See `Store.children`. Of large values, outcomes are fetched, up to `PRELOADED` bytes; the rest are claims."""
        now = self.clock.now()
        records = self._children(id, separator)
        promises = [record.promise() for record in records if not record.pending or record.timeout_at > now]
        claims: list[Claim] = []
        left = PRELOADED
        for promise in promises:
            if isinstance(promise.value, Claim) and promise.value.size <= left:
                claims.append(promise.value)
                left -= promise.value.size
        if not claims:
            return promises
        values = self._values(claims)
        return [with_values(promise, values) for promise in promises]

    def record(self, id: str) -> Record | None:
        """The record as it is stored, with claims in place of large values."""
        entry = self._read([("promise", id)])["promise", id]
        return entry if isinstance(entry, Record) else None

    def remember(self, record: Record) -> None:
        """Take a record, seen elsewhere, for the latest image of it; if it is not, a write finds out."""
        self._memory.remember({key_of(record): record})

    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""
        partitions = [name for shard in range(self.shards) for name in (str(shard), halted_shard(shard))]
        found = [item for name in partitions for item in pages(self._table.call, "query", self._due_query(name, now))]
        found.sort(key=lambda item: (int(item["wake_at"]["N"]), key_in(item)))
        return [key_in(item) for item in found]

    def due_in_shard(
        self, shard: int, now: int, limit: int, start: Position | None = None
    ) -> tuple[list[tuple[Key, int]], Position | None]:
        """The first `limit` entries of one shard whose `wake_at` has come, the earliest first.

        Returns:
            The entries with their `wake_at`, and the position to go on from; None at the end.
        """
        page = {} if start is None else {"ExclusiveStartKey": start}
        answer = self._table.call("query", {**self._due_query(str(shard), now), **page, "Limit": limit})
        return _instants(answer), answer.get("LastEvaluatedKey")

    def halted_in_shard(self, shard: int, limit: int) -> list[tuple[Key, int]]:
        """The first `limit` halted tasks of one shard with their `wake_at`, the earliest first, due or not."""
        query = self._due_query(halted_shard(shard), END_OF_TIME)
        return _instants(self._table.call("query", {**query, "Limit": limit}))

    def delete_tree(self, expiry: Expiry, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete the execution whose retention is over, or as much of it as `most` records.

        Args:
            expiry: the execution.
            most: how many records to delete at most.
            until: the instant (ms) after which nothing is begun but the first batch of records.
            whole: whether to delete nothing of an execution that has more records than `most`.

        Returns:
            Whether it is gone; False to go on later.
        """
        return self._deletion(expiry).run(most, until, whole=whole)

    def reconsider(self, expiry: Expiry) -> None:
        """Keep the execution whose retention is over for another day, if it is still there."""
        if self.record(expiry.id) is not None:
            self._deletion(expiry).reconsider()

    def delete_execution(self, id: str) -> int:
        """Delete a settled execution now: the root `id` with its tree, before its retention is over.

        A marker that is due is put first, so that a deployment finishes what is interrupted here.

        Args:
            id: the root.

        Returns:
            How many records are gone: the root, and those of its tree.

        Raises:
            NotDeletable: there is no such root, it is pending, its end is still being told to others, or a task in its
                tree is running.
            StoreError: the table or the bucket cannot be reached.
        """
        record = self.record(id)
        if record is not None and record.pending and record.timeout_at <= self.clock.now():
            self.apply(PromiseWake(id))
            record = self.record(id)
        record = deletable(id, record)
        deletion = self._deletion(Expiry(id, record.created_at))
        deletion.tree()  # raises, before anything is done
        self.retain(id, record.created_at, self.clock.now(), 0)
        while not deletion.delete(ALL_AT_ONCE):
            pass
        marker = expiry_item(id, record.created_at, 0)
        self._table.call("delete_item", {"TableName": self.table, "Key": {name: marker[name] for name in ("pk", "sk")}})
        return deletion.deleted

    def _deletion(self, expiry: Expiry) -> Deletion:
        objects, now = lambda: self._objects, self.clock.now
        return Deletion(self._table.call, self.table, expiry, now, objects, width=self._width)

    def debug(self) -> DynamoDebug:
        """What debugging does to this table."""
        from resonate_store.dynamo.debug_items import DynamoDebug  # only who debugs pays for it

        return DynamoDebug(self._table.call, self.table, lambda: self._objects, width=self._width)

    def connect(self) -> None:
        """Make the client now. Where Lambda initialises a function it has more processor than when it invokes it."""
        self._table.connect()

    def retain(self, id: str, created_at: int, settled_at: int, seconds: int) -> None:
        """Put the retention marker of a settled root; `seconds` after its settlement the tree may go."""
        item = expiry_item(id, created_at, settled_at + seconds * 1000)
        self._table.call("put_item", {"TableName": self.table, "Item": item})

    def _run(self, operation: Request, announce: bool, changes: list[Change]) -> Response:
        """Carry out one operation and add what it wrote to `changes`."""
        known = Known(self._memory.predict(operation))
        uploads = Uploads(self._payloads)
        for attempt in range(self._table.max_attempts):
            if attempt > 1:  # the first failure is a wrong assumption, as a rule, not a competitor
                self._table.pause(attempt)
            try:
                outcome = self._decide(operation, known)
                if not outcome.changes:
                    return outcome.response
                outcome = self._table.retrying(partial(uploads.offloaded, outcome))
                outdated = self._write(outcome, announce)
            except TooLarge as error:
                return Response(status=413, error=str(error))
            except TransactionRefused as error:
                status = 413 if "maximum allowed size" in str(error) else 400
                return Response(status=status, error=f"DynamoDB does not take this: {error}")
            except Unavailable as error:
                return Response(status=503, error=str(error))
            if outdated is None:
                outcome = uploads.confirmed(outcome)
                self._memory.remember(written(outcome))
                changes += outcome.changes
                return outcome.response
            known.outdate(outdated)
        return Response(
            status=503,
            error=f"given up after {self._table.max_attempts} tries: others keep writing to the same records",
        )

    def _verified(self, request: TaskVerify) -> Response:
        """Read who holds a task, in one request that reads no value and remembers nothing."""
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
            return tuple(record for separator in SEPARATORS for record in self._children(need.id, separator))
        if isinstance(need, NeedPage):
            return DynamoSearch(
                need, table=self.table, shards=self.shards, call=self._table.call, read=self._read
            ).page()
        one = isinstance(need, NeedSchedule)
        keys: list[Key] = [("schedule", need.id)] if one else [("promise", id) for id in need.ids]
        known.learn(self._read(known.missing(keys)))
        entries = known.entries(keys)
        return entries[0] if one else tuple(entries)

    def _write(self, outcome: Outcome, announce: bool) -> Mapping[Key, Entry | None] | None:
        """Write the outcome; when what it rests on has changed, return that as it is now."""
        token = self._identify()
        write = write_of(outcome, table=self.table, token=token, announce=announce, shards=self.shards)
        try:
            self._table.call(write.operation, write.arguments)
        except ConditionFailed as failure:
            entries, ours = failure_of(write, self._images(write.keys, failure.images))
            self._memory.remember(entries)
            return None if ours else entries
        return None

    def _images(self, keys: Sequence[Key], images: Mapping[int, AnyItem | None]) -> Mapping[int, AnyItem | None]:
        """The images that a failed write came with; those that are missing are read, by their positions.

        An item that is missing may not exist any more. But not every endpoint sends the images that it is asked for.
        """
        unseen = {str(table_key(keys[position])): position for position, image in images.items() if image is None}
        if not unseen:
            return images
        read: dict[int, AnyItem | None] = {}
        for item in self._table.items([table_key(keys[position]) for position in unseen.values()]):
            read[unseen[str({"pk": item["pk"], "sk": item["sk"]})]] = item
        return {**images, **read}

    def _read(self, keys: Collection[Key]) -> dict[Key, Entry | None]:
        """The current entries under these keys."""
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
        return [entry for entry in entries if isinstance(entry, Record)]

    def _due_query(self, shard: str, now: int) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "IndexName": "wake",
            "KeyConditionExpression": "wake_shard = :shard AND wake_at <= :now",
            "ExpressionAttributeValues": {":shard": typed(shard), ":now": typed(now)},
        }

    @property
    def _objects(self) -> Payloads:
        """The large values, by whoever meets a claim."""
        if self._payloads is None:
            raise StoreError(
                f"table {self.table!r} has values in S3: set RESONATE_BUCKET to the bucket of its deployment"
            )
        return self._payloads

    def _values(self, claims: Sequence[Claim]) -> dict[str, Value]:
        return self._table.retrying(lambda: self._objects.values(claims))

    def _shown(self, response: Response) -> Response:
        """The response with large values in place of their claims."""
        claims = [claim for promise in promises_in(response) for claim in claims_in(promise)]
        return response_with_values(response, self._values(claims)) if claims else response

    def _unreachable(self, request: Request) -> str | None:
        """Where nobody polls, a target that no worker serves would hang: say so (docs/rules.md V12)."""
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


def _instants(answer: Mapping[str, Any]) -> list[tuple[Key, int]]:
    """The entries that a query of the index `wake` has found, with their `wake_at`."""
    return [(key_in(item), int(item["wake_at"]["N"])) for item in answer["Items"]]
