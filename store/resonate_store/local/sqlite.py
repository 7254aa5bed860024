"""Store in a SQLite file. It keeps its records when the process ends.

A request and all its effects are one transaction. It is on the disk before the response is returned, so neither `kill
-9` nor a power cut loses an acknowledged write. One process at a time owns the file. It holds SQLite's own lock, which
the kernel releases when the process ends.

A message cannot be part of a transaction. Offers of tasks are not stored: opening the file repeats all open offers.
Unblock messages are stored in the table `outbox`. They are deleted in the first transaction after they were sent, so
each is sent at least once (docs/decisions/0015).
"""

from __future__ import annotations

import heapq
import logging
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from os import PathLike, fspath
from typing import Any, Final, Literal, TypeVar

import msgspec

from resonate_store.delivery.outlets import deliver
from resonate_store.interface import DamagedRecord, MovedFile, Send, Store, StoreClosed, StoreError, StoreWrapper
from resonate_store.local.embedded import EmbeddedStore, unheard
from resonate_store.local.sqlite_file import (
    EMPTY_LOG,
    SCHEMA_VERSION,
    FilePlace,
    LogLock,
    Synchronous,
    Transaction,
    connect,
)
from resonate_store.machine import NeedChildren, NeedCounts, NeedRecords, NeedSchedule
from resonate_store.machine.draft import Need, NeedPage, Page, Place
from resonate_store.machine.effects import Change
from resonate_store.machine.executions import MOST_COUNTED, Counted, indexed_status
from resonate_store.machine.search import page_of
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import STATUSES_OF, ExecutionSearch
from resonate_store.model.ids import family, family_of
from resonate_store.model.records import END_OF_TIME, Entry, Key, PromiseView, Record, ScheduleRecord
from resonate_store.model.requests import PromiseSearch, Request, Response
from resonate_store.model.schedule_requests import ScheduleSearch

_DUE: Final = "SELECT wake_at, '{0}', id FROM {0} WHERE wake_at <= ? ORDER BY wake_at, id LIMIT ?"

_T = TypeVar("_T")

logger = logging.getLogger("resonate.store")

_encoder = msgspec.msgpack.Encoder()
_records = msgspec.msgpack.Decoder(Record)
_schedules = msgspec.msgpack.Decoder(ScheduleRecord)
_message_of = msgspec.msgpack.Decoder(dict[str, Any]).decode


class SqliteStore(EmbeddedStore):
    """A promise store in a file that only this process uses.

    Args:
        path: the file. It is created if it does not exist. ":memory:" means no file.
        clock: the source of time.
        send: gets an address and a message. The store calls it outside its lock. It must not wait for the receiver.
        synchronous: when a write is acknowledged. "full": when it is on the disk. "normal": when the kernel has it, so
            a power cut can lose the latest writes. "off": like "normal", and a power cut can damage the file.

    Raises:
        StoreError: the file cannot be opened, another process uses it, or it is not a store of this version.
        ValueError: `path` is empty or `synchronous` is another text.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        clock: Clock | None = None,
        send: Send = unheard,
        *,
        synchronous: Synchronous = "full",
    ) -> None:
        if synchronous not in ("full", "normal", "off"):
            raise ValueError(f"synchronous is 'full', 'normal' or 'off', not {synchronous!r}")
        self.path = fspath(path)
        if not self.path:  # SQLite would create a temporary file
            raise ValueError("the path is empty: name a file, or ':memory:' for none")
        self._log = LogLock(self.path)
        self._db = connect(self.path, synchronous)
        self._log.hold()
        self._place = FilePlace(self.path)
        self._posted = 0
        self._transaction = Transaction(self._db, self.path, committed=self._committed, undone=self._undone)
        super().__init__(clock, send, self._transaction)
        self._recovered = self._recover()

    def open(self) -> Store:
        return _Invocation(self)

    def close(self) -> None:
        """Write the log into the file and close it. Every later call raises `StoreClosed`."""
        with suppress(StoreClosed):
            try:
                with self._exclusive:
                    self._begin()
            finally:
                self._transaction.close()
                self._log.release()

    def clear(self) -> None:
        with self._exclusive:
            self._write_begins()
            for table in ("promise", "schedule", "outbox"):
                self._rows(f"DELETE FROM {table}")
            self._outbox.clear()

    def record(self, id: str) -> Record | None:
        with self._exclusive:
            return self._record(id)

    def records(self) -> list[Record]:
        with self._exclusive:
            return [_record_of(*row) for row in self._rows("SELECT id, record FROM promise ORDER BY id")]

    def next_wake_at(self) -> int | None:
        """Return the earliest instant (ms) at which `tick` has work. It is 0 while recovered messages are not sent."""
        if self._recovered:
            return 0
        with self._exclusive:
            return self._earliest()

    def due(self, now: int) -> list[Key]:
        with self._exclusive:
            return [(kind, id) for _, kind, id in self._due(now, -1)]

    def ready(self) -> bool:
        """Return True if the store can write. The check writes the file's header unchanged.

        Raises:
            StoreError: it cannot write, for example because the disk is full or the file was moved.
        """
        with self._exclusive:
            self._write_begins()
            self._rows(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return True

    def at_once(self, call: Callable[[], _T]) -> _T | None:
        """Return the result of a call that uses this store, or None if another thread uses the store now.

        So the caller does not wait for another thread. The messages of the call are sent before the store is free.
        """
        if not self._transaction.lock.acquire(blocking=False):
            return None
        try:
            return call()
        finally:
            self._transaction.lock.release()

    def together(self, calls: Sequence[Callable[[], _T]]) -> list[_T]:
        """Make calls that use this store, and store what they write in one transaction. Return their results in order.

        If the store fails in one of the calls, nothing of any of them is stored, and each is made again alone. The
        messages are sent when everything is stored.
        """
        if len(calls) == 1:
            return [calls[0]()]
        try:
            with self._exclusive:
                self._together = True
                try:
                    results = [call() for call in calls]
                finally:
                    self._together = False
        except StoreError:
            results = [call() for call in calls]
        self._flush()
        return results

    def tick(self) -> int:
        self._recovered = False
        return super().tick()

    def _set_aside(self, key: Key) -> None:
        kind, id = key
        self._write_begins()
        self._rows(f"UPDATE {kind} SET wake_at = NULL WHERE id = ?", (id,))

    def _earliest(self) -> int | None:
        ((promise, schedule),) = self._rows(
            "SELECT (SELECT min(wake_at) FROM promise WHERE wake_at IS NOT NULL),"
            " (SELECT min(wake_at) FROM schedule WHERE wake_at IS NOT NULL)"
        )
        return min((at for at in (promise, schedule) if at is not None), default=None)

    def _first_due(self, now: int) -> Key | None:
        return next(((kind, id) for _, kind, id in self._due(now, 1)), None)

    def _due(self, now: int, limit: int) -> list[tuple[int, Literal["promise", "schedule"], str]]:
        """Return the first entries of each kind that are due, in order."""
        kinds = ("promise", "schedule")
        return sorted(row for kind in kinds for row in self._rows(_DUE.format(kind), (now, limit)))

    def _fetch(self, need: Need) -> Any:
        if isinstance(need, NeedRecords):
            return tuple(map(self._record, need.ids))
        if isinstance(need, NeedSchedule):
            for row in self._rows("SELECT id, record FROM schedule WHERE id = ?", (need.id,)):
                return _schedule_of(*row)
            return None
        if isinstance(need, NeedCounts):
            return self._counts(need)
        if isinstance(need, NeedChildren):
            return tuple(self._children_of(family_of(need.id, need.generation)))
        return self._page(need)

    def _record(self, id: str) -> Record | None:
        row = self._rows("SELECT record FROM promise WHERE id = ?", (id,)).fetchone()
        return None if row is None else _record_of(id, row[0])

    def _children_of(self, family: str) -> Sequence[Record]:
        return [_record_of(*row) for row in self._rows("SELECT id, record FROM promise WHERE parent = ?", (family,))]

    def _page(self, need: NeedPage) -> Page | None:
        if need.after is not None and isinstance(need.after[0], str):
            return None
        entries = self._found(need.search, need.after) if isinstance(need.search, ExecutionSearch) else None
        with closing(entries or self._ordered(need)) as entries:
            return page_of(need, entries)

    def _found(self, search: ExecutionSearch, after: Place | None) -> Generator[Entry]:
        """Yield the executions in the statuses and the time of a search, the newest first.

        Each status is one range of the index `executions`. Without a status, the index `roots` has them in order.
        """
        at, id = (END_OF_TIME, "") if after is None else (-int(after[0]), after[1])
        condition = (
            "root_at <= :at AND root_at >= :since AND root_at < :until AND NOT (root_at = :at AND id <= :id)"
            " AND substr(id, 1, :length) = :prefix ORDER BY root_at DESC, id"
        )
        prefix = search.id or ""
        given = {
            "at": at,
            "id": id,
            "since": search.since or 0,
            "until": END_OF_TIME + 1 if search.until is None else search.until,
            "prefix": prefix,
            "length": len(prefix),
        }
        wanted = "SELECT -root_at, id, record FROM promise"
        if search.state is None:
            parts = [self._rows(f"{wanted} WHERE {condition}", given)]
        else:
            statuses = STATUSES_OF[search.state]
            each = f"{wanted} WHERE status = :status AND {condition}"
            parts = [self._rows(each, {**given, "status": status}) for status in statuses]
        try:
            for _, id, record in heapq.merge(*parts):
                yield _record_of(id, record)
        finally:
            for part in parts:
                part.close()

    def _counts(self, need: NeedCounts) -> Counted:
        """Count the executions in each status in the index `executions`, up to a limit."""
        counted: dict[str, tuple[int, bool]] = {}
        for status in STATUSES_OF[None]:
            ((number,),) = self._rows(
                "SELECT count(*) FROM ("
                "SELECT 1 FROM promise WHERE status = ? AND root_at >= ? AND root_at < ? LIMIT ?)",
                (
                    status,
                    need.since or 0,
                    END_OF_TIME + 1 if need.until is None else need.until,
                    MOST_COUNTED + 1,
                ),
            )
            counted[status] = min(number, MOST_COUNTED), number > MOST_COUNTED
        return counted

    def _ordered(self, need: NeedPage) -> Generator[Entry]:
        search, after, prefix = need.search, need.after or (0, ""), ""
        if isinstance(search, ScheduleSearch):
            rows = self._rows("SELECT id, record FROM schedule WHERE id > ? ORDER BY id", (after[1],))
        elif isinstance(search, PromiseSearch) and search.roots:
            at = 2**53 if need.after is None else -int(after[0])
            rows = self._rows(
                "SELECT id, record FROM promise WHERE root_at <= ? AND NOT (root_at = ? AND id <= ?)"
                " ORDER BY root_at DESC, id",
                (at, at, after[1]),
            )
        else:
            if isinstance(search, PromiseSearch) and search.id:
                prefix = search.id
            # One bound, so that SQLite begins to read there. Of two it takes the first, which can be far before.
            bound = "id > ?" if after[1] >= prefix else "id >= ?"
            rows = self._rows(f"SELECT id, record FROM promise WHERE {bound} ORDER BY id", (max(after[1], prefix),))
        decode = _schedule_of if isinstance(search, ScheduleSearch) else _record_of
        with closing(rows):
            for row in rows:
                entry = decode(*row)
                if not entry.id.startswith(prefix):
                    return  # ids with the same prefix are consecutive
                yield entry

    def _keep(self, change: Change) -> None:
        before, after = change
        self._write_begins()
        if isinstance(after, Record):
            if before is None:
                status = indexed_status(after)
                self._rows(
                    "INSERT INTO promise (id, parent, root_at, wake_at, record, status) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        after.id,
                        family(after.id) or None,
                        None if status is None else after.created_at,
                        after.wake_at,
                        _encoder.encode(after),
                        status,
                    ),
                )
            else:
                self._rows(
                    "UPDATE promise SET wake_at = ?, record = ?, status = ? WHERE id = ?",
                    (after.wake_at, _encoder.encode(after), indexed_status(after), after.id),
                )
        elif isinstance(after, ScheduleRecord):
            self._rows(
                "INSERT OR REPLACE INTO schedule (id, wake_at, record) VALUES (?, ?, ?)",
                (after.id, after.wake_at, _encoder.encode(after)),
            )
        elif before is not None:
            self._rows("DELETE FROM schedule WHERE id = ?", (before.id,))

    def _drop(self, record: Record) -> None:
        self._write_begins()
        self._rows("DELETE FROM promise WHERE id = ?", (record.id,))

    def _drop_children(self, family: str, records: Sequence[Record]) -> None:  # noqa: ARG002
        for record in records:
            self._drop(record)

    def _arm(self, _: Key, at: int, /) -> bool:
        return self._on_wake is not None and self._earliest() == at

    def _post(self, address: str, message: dict[str, Any]) -> None:
        number = None
        if message["kind"] != "execute":
            self._write_begins()
            kept = (address, _encoder.encode(message))
            number = self._rows("INSERT INTO outbox (address, message) VALUES (?, ?)", kept).lastrowid
        self._outbox.append((number, address, message))
        self._posted += 1

    def _recover(self) -> bool:
        """Queue the messages that the previous process may not have sent. Return whether there are any."""
        with self._exclusive:
            kept = self._rows("SELECT number, address, message FROM outbox ORDER BY number").fetchall()
            self._outbox.extend((number, address, _message_of(message)) for number, address, message in kept)
            query = "SELECT id, record FROM promise WHERE wake_at IS NOT NULL ORDER BY wake_at, id"
            for id, stored in self._rows(query).fetchall():
                try:
                    record = _record_of(id, stored)
                except DamagedRecord as error:
                    logger.error("%s; all other records are served", error)
                    continue
                deliver(Change(None, record), self._outlets)
                self._deliver()
            self._posted = 0
        return bool(self._outbox)

    def _rows(self, statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        return self._db.execute(statement, parameters)

    def _write_begins(self) -> None:
        """Begin the transaction if this is its first write.

        Raises:
            MovedFile: the file was moved, so the next process would not find this write.
        """
        if self._db.in_transaction:
            return
        if self._place.left():
            with suppress(sqlite3.Error):
                self._db.execute(EMPTY_LOG)  # move acknowledged writes from the log into the file
            raise MovedFile(
                f"{self.path!r} was moved, deleted or replaced while it was in use, and nothing more is stored: stop"
                " this process, then start it with the file under its new name, or move the file back"
            )
        self._begin()

    def _begin(self) -> None:
        """Begin a transaction if none has begun. It deletes the messages that were sent since the last one."""
        if not self._db.in_transaction:
            self._rows("BEGIN IMMEDIATE")
            if self._left:
                self._db.executemany("DELETE FROM outbox WHERE number = ?", [(number,) for number in self._left])

    def _committed(self) -> None:
        self._left.clear()
        self._posted = 0

    def _undone(self) -> None:
        """Discard the effects and messages of the transaction that was rolled back."""
        self._undelivered.clear()
        for _ in range(self._posted):
            self._outbox.pop()
        self._posted = 0


class _Invocation(StoreWrapper):
    """The store for one invocation. It can be closed while the file stays open."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self._closed = False

    def apply(self, request: Request) -> Response:
        return self._opened().apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self._opened().children(id, separator)

    def open(self) -> Store:
        return self._opened().open()

    def close(self) -> None:
        self._closed = True

    def _opened(self) -> Store:
        if self._closed:
            raise StoreClosed("the store is closed: the invocation it belonged to has ended")
        return self._store


def _record_of(id: str, stored: bytes) -> Record:
    return _decoded(_records, "promise", id, stored)


def _schedule_of(id: str, stored: bytes) -> ScheduleRecord:
    return _decoded(_schedules, "schedule", id, stored)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], kind: str, id: str, stored: bytes) -> _T:
    try:
        return decoder.decode(stored)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise DamagedRecord(f"the record of the {kind} {id!r} is damaged and cannot be read: {error}") from error
