"""File of a SQLite store: its schema, its lock, and the end of its transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal

import msgspec

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

from resonate_store.interface import StoreClosed, StoreError
from resonate_store.machine.executions import indexed_status
from resonate_store.model.records import Record

Synchronous = Literal["full", "normal", "off"]

MEMORY: Final = ":memory:"
"""The path of a store without a file."""
APPLICATION_ID: Final = 0x52736E74
"""The application id in the file's header: "Rsnt"."""
SCHEMA_VERSION: Final = 2

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE promise (
    id TEXT PRIMARY KEY,
    parent TEXT,      -- the id without its last segment, if there is one above it
    root_at INTEGER,  -- when it was created, if it is a root
    wake_at INTEGER,
    record BLOB NOT NULL,
    status TEXT       -- what an execution does, if it is a root
);
CREATE INDEX children ON promise (parent) WHERE parent IS NOT NULL;
CREATE INDEX roots ON promise (root_at DESC, id) WHERE root_at IS NOT NULL;
CREATE INDEX executions ON promise (status, root_at DESC, id) WHERE status IS NOT NULL;
CREATE INDEX wakes ON promise (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE TABLE schedule (id TEXT PRIMARY KEY, wake_at INTEGER, record BLOB NOT NULL);
CREATE INDEX firings ON schedule (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE TABLE outbox (number INTEGER PRIMARY KEY, address TEXT NOT NULL, message BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_WITHOUT_STATUS: Final = 1
"""The schema of release 0.1, whose promises have no status."""
_ADD_STATUS: Final = (
    "ALTER TABLE promise ADD COLUMN status TEXT",
    "CREATE INDEX executions ON promise (status, root_at DESC, id) WHERE status IS NOT NULL",
)
EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"

_CONVERTED_AT_ONCE: Final = 1_000
_records = msgspec.msgpack.Decoder(Record)

logger = logging.getLogger("resonate.store")


def connect(path: str, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the file for this process alone and create its tables if it is new."""
    if path != MEMORY:
        # SQLite would create a file that every user can read. The log gets the mode of the file.
        with suppress(OSError):
            # Only if it is new: closing a file that this process has open elsewhere would release SQLite's locks.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        # No `timeout`: another process keeps the file until it ends. Our own lock serialises the threads.
        db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64)
    except sqlite3.Error as error:
        raise StoreError(f"cannot open {path!r} as a store: {error}") from error
    try:
        _prepare(db, path, synchronous)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(_refusal(path, error)) from error
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str, synchronous: Synchronous) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")  # before WAL, which then needs no shared memory
    ((owner,),) = db.execute("PRAGMA application_id")
    ((version,),) = db.execute("PRAGMA user_version")
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_master")
    new = (owner, version, tables) == (0, 0, 0)
    if not new and owner != APPLICATION_ID:
        raise StoreError(f"{path!r} is a database of something else: name a file of its own for the store")
    if not new and version not in (SCHEMA_VERSION, _WITHOUT_STATUS):
        raise StoreError(
            f"the store in {path!r} has the schema {version} and this version of Resonate reads {SCHEMA_VERSION}: use"
            " the version that wrote it"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    # On macOS a disk may delay a write unless this is set.
    db.execute(f"PRAGMA fullfsync = {int(synchronous == 'full')}")
    db.executescript(_SCHEMA if new else "BEGIN EXCLUSIVE; COMMIT")
    if not new and version == _WITHOUT_STATUS:
        _add_status(db)


def _add_status(db: sqlite3.Connection) -> None:
    """Convert a file of the first schema: note the status of each execution. It is done completely or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(_ADD_STATUS[0])
        roots = db.execute("SELECT id, record FROM promise WHERE root_at IS NOT NULL")
        while some := roots.fetchmany(_CONVERTED_AT_ONCE):
            db.executemany(
                "UPDATE promise SET status = ? WHERE id = ?", [(_status_in(id, record), id) for id, record in some]
            )
        db.execute(_ADD_STATUS[1])
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _status_in(id: str, stored: bytes) -> str | None:
    """Return the status of a stored execution, or None if the record is damaged: no search finds it then."""
    try:
        return indexed_status(_records.decode(stored))
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        logger.error("the record of the promise %r is damaged and cannot be read: %s", id, error)
        return None


def _refusal(path: str, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _in_use(path)
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path!r} is no SQLite database: name a file of its own for the store"
    return f"cannot open {path!r} as a store: {error}"


def _in_use(path: str) -> str:
    return f"the store in {path!r} is in use by another process: end that one, or name another file"


class Transaction:
    """The lock of the store. Leaving it ends the transaction that began under it.

    Args:
        db: the connection.
        path: the name of the file in errors.
        committed: called after the transaction was committed.
        undone: called after the transaction was rolled back, because of an exception or because SQLite failed.
    """

    def __init__(
        self, db: sqlite3.Connection, path: str, *, committed: Callable[[], None], undone: Callable[[], None]
    ) -> None:
        self.lock = threading.RLock()
        self._db = db
        self._path = path
        self._committed = committed
        self._undone = undone
        self._depth = 0
        self._failed = False
        self._closed = False

    def __enter__(self) -> None:
        self.lock.acquire()
        if self._closed:
            self.lock.release()
            raise StoreClosed(f"the store in {self._path!r} is closed")
        self._depth += 1

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._depth -= 1
            if self._depth == 0:
                if error is None and self._failed:
                    error = StoreError(f"a part of a transaction of {self._path!r} has failed")
                    self._failed = False
                    self._end(error)
                    raise error
                self._failed = False
                error = self._end(error)
            elif error is not None:
                self._failed = True
        finally:
            self.lock.release()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"SQLite cannot read or write {self._path!r}: {error}") from error

    def close(self) -> None:
        with self.lock:
            if not self._closed:
                self._closed = True
                self._empty_log()
                self._db.close()

    def _empty_log(self) -> None:
        """Write the log into the file. SQLite does this only if the file still has its name."""
        try:
            self._db.execute(EMPTY_LOG)
        except sqlite3.Error as error:
            logger.error("the log of %r cannot be written into it, keep both files together: %s", self._path, error)

    def _end(self, error: BaseException | None) -> BaseException | None:
        if error is None and self._db.in_transaction:
            try:
                self._db.execute("COMMIT")
                self._committed()
            except sqlite3.Error as refusal:
                error = refusal
        if error is not None:
            self._undone()
            if self._db.in_transaction:  # SQLite rolls back some failures itself
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
        return error


class LogLock:
    """Lock on the file of SQLite's write-ahead log.

    SQLite's own lock follows the file when it is renamed, but the log keeps its name. Another process could then create
    a file of the old name and use this log for it. This store would lose acknowledged writes.

    Args:
        path: the file that the log belongs to.

    Raises:
        StoreError: another process holds the lock.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: int | None = None
        self.hold()

    def hold(self) -> None:
        """Lock the log if it exists now."""
        if self._path == MEMORY or fcntl is None:
            return
        self.release()
        try:
            log = os.open(f"{os.path.realpath(self._path)}-wal", os.O_RDWR)
        except OSError:
            return
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(log)
            raise StoreError(_in_use(self._path)) from None
        except OSError:  # a file system without locks
            os.close(log)
            return
        self._held = log

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


class FilePlace:
    """The file that was opened at a path, to check whether the path still leads to it.

    Args:
        path: an open file.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # the working directory may change
        self._file = None if path == MEMORY else self._found()

    def left(self) -> bool:
        """Return whether the file was moved, deleted or replaced. It costs one `stat`, much less than a write."""
        return self._file is not None and self._found() != self._file

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino
