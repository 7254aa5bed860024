"""The store in DynamoDB: the machine's transitions over one table (DESIGN 2, "Substrates").

An operation reads what its transition needs, lets it decide, and writes the decision on condition that nothing it
rests on has changed; a failed condition starts it over on the true images, a bounded number of times. What a request
most likely finds is assumed instead of read, so that a local step costs one write and nothing else.

Effects are not carried out here: a write that has any says so in the attribute `effects`, and the table's stream
brings it to its consumer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from resonate_store import addresses
from resonate_store.clock import Clock, SystemClock
from resonate_store.dynamo_calls import (
    Client,
    ConditionFailed,
    Connection,
    Refused,
    Unavailable,
    meaning_of,
)
from resonate_store.dynamo_prediction import Memory, unproven
from resonate_store.dynamo_writes import TooLarge, failure_of, write_of
from resonate_store.effects import Change
from resonate_store.ids import Identify, random_id
from resonate_store.interface import StoreClosed, StoreError
from resonate_store.machine import NeedRecords, NeedSchedule, Outcome, decide, perform
from resonate_store.machine.draft import Need
from resonate_store.models import (
    SHARDS,
    AnyItem,
    Item,
    Key,
    children_of,
    entry_of,
    expiry_item,
    key_in,
    key_of,
    table_key,
    typed,
)
from resonate_store.records import TARGET, Entry, Promise, Record
from resonate_store.requests import PromiseCreate, Request, Response, ScheduleCreate, TaskCreate, TaskFence

MAX_BATCH: Final = 100
"""Items of one BatchGetItem."""
FIRST_PAUSE: Final = 25
"""The longest pause before the second try (ms), doubled with every further one."""
LONGEST_PAUSE: Final = 1_000

Position = Item
"""Where a query of an index left off."""


class DynamoStore:
    """A promise store in a DynamoDB table.

    Args:
        table: the table's name.
        client: a botocore client for DynamoDB; made from the environment when first needed.
        clock: the source of time, also for pauses between tries.
        identify: makes the tokens that name writes.
        groups: where worker groups are, when nobody can poll: a target that leads nowhere is refused. None accepts all.
        shards: partitions of each index; the same for everybody who uses the table.
        jitter: random numbers in [0, 1) that spread the pauses of those who compete.
        max_attempts: how often anything is tried before the answer is 503.
    """

    def __init__(
        self,
        table: str,
        *,
        client: Client | None = None,
        clock: Clock | None = None,
        identify: Identify = random_id,
        groups: Mapping[str, str] | None = None,
        shards: int = SHARDS,
        jitter: Callable[[], float] | None = None,
        max_attempts: int = 6,
    ) -> None:
        self.table = table
        self.clock: Clock = clock or SystemClock()
        self.groups = groups
        self.shards = shards
        self._identify = identify
        self._jitter = jitter or random.Random().random
        self._max_attempts = max_attempts
        self._connection = Connection(client)
        self._memory = Memory()
        self._closed = False

    def open(self) -> DynamoStore:
        """A store over the same connection that remembers, and is closed, by itself: one for each invocation."""
        self._require_open()
        store = DynamoStore(
            self.table,
            clock=self.clock,
            identify=self._identify,
            groups=self.groups,
            shards=self.shards,
            jitter=self._jitter,
            max_attempts=self._max_attempts,
        )
        store._connection = self._connection
        return store

    def close(self) -> None:
        """Every later call raises `StoreClosed`: whoever thaws after the invocation's end can write nothing."""
        self._closed = True

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
        self._require_open()
        problem = self._unreachable(request)
        if problem is not None:
            return Response(status=400, error=problem), []
        changes: list[Change] = []
        response = perform(request, lambda operation: self._run(operation, announce, changes))
        return response, changes

    def children(self, id: str) -> list[Promise]:
        now = self.clock.now()
        return [
            record.promise() for record in self._children(id) if not record.pending or record.timeout_at > now
        ]

    def record(self, id: str) -> Record | None:
        """The record as it is stored."""
        (entry,) = self._read([("promise", id)]).values()
        return entry if isinstance(entry, Record) else None

    def remember(self, record: Record) -> None:
        """Take a record, seen elsewhere, for the latest image of it; if it is not, a write finds out."""
        self._memory.remember(key_of(record), record)

    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""
        found = [item for shard in range(self.shards) for item in self._due_items(shard, now)]
        found.sort(key=lambda item: (int(item["wake_at"]["N"]), key_in(item)))
        return [key_in(item) for item in found]

    def due_in_shard(
        self, shard: int, now: int, limit: int, start: Position | None = None
    ) -> tuple[list[Key], Position | None]:
        """The first `limit` entries of one shard whose `wake_at` has come, the earliest first.

        Returns:
            The entries, and where to go on; None at the end.
        """
        answer = self._call("query", **self._due_query(shard, now), Limit=limit, **_starting_at(start))
        return [key_in(item) for item in answer["Items"]], answer.get("LastEvaluatedKey")

    def retain(self, id: str, created_at: int, settled_at: int, seconds: int) -> None:
        """Put the retention marker of a settled root; `seconds` after its settlement the tree may go."""
        item = expiry_item(id, created_at, settled_at + seconds * 1000)
        self._call("put_item", TableName=self.table, Item=item)

    def _run(self, operation: Request, announce: bool, changes: list[Change]) -> Response:
        """Carry out one operation; `changes` takes what it writes."""
        known = _Known(self._memory.predict(operation))
        problem = ""
        for attempt in range(self._max_attempts):
            if attempt > 1:  # the first failure is usually a wrong assumption, not a competitor
                self._pause(attempt)
            try:
                outcome = self._decide(operation, known)
                if outcome.changes:
                    self._write(outcome, announce)
            except ConditionFailed as failure:
                problem = "others keep writing to the same records"
            except TooLarge as error:
                return Response(status=413, error=str(error))
            except Unavailable as error:
                return Response(status=503, error=str(error))
            else:
                changes += outcome.changes
                return outcome.response
        return Response(status=503, error=f"given up after {self._max_attempts} tries: {problem}")
