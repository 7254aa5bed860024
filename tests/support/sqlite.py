"""A store in an SQLite file, whose disk can fail and whose process can be killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record

Sent = list[tuple[str, dict[str, Any]]]


class Disk:
    """What lies between a store and its file: a connection that can be made to fail.

    Attributes:
        db: the connection.
        left: how many statements that write or commit are left, up to the one that fails; below zero none does.
        full: whether nothing can be committed.
        commits: how many transactions were committed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.left = -1
        self.full = False
        self.commits = 0

    @classmethod
    @contextmanager
    def between(cls) -> Iterator[list[Disk]]:
        """Stand between SQLite and the stores that are opened in the block."""
        made: list[Disk] = []

        def connect(*args: Any, **kwargs: Any) -> Disk:
            made.append(cls(connect_to(*args, **kwargs)))
            return made[-1]

        connect_to = sqlite3.connect
        with patch("sqlite3.connect", connect):
            yield made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        writes = not statement.lstrip().startswith(("SELECT", "ROLLBACK"))
        self.left -= writes
        if (writes and self.left == 0) or (self.full and statement == "COMMIT"):
            raise sqlite3.OperationalError("database or disk is full")
        self.commits += statement == "COMMIT"
        return self.db.execute(statement, *parameters)

    def executemany(self, statement: str, parameters: list[Any]) -> None:
        for some in parameters:
            self.execute(statement, some)


class File:
    """A file, and the process that has it open: `crash` is kill -9 and a new start."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock
        self.sent: Sent = []
        self.disk: Disk
        self.store = self.opened()

    def opened(self) -> SqliteStore:
        with Disk.between() as made:
            store = SqliteStore(self.path, self.clock, lambda *message: self.sent.append(message), synchronous="off")
        (self.disk,) = made
        return store

    def crash(self) -> SqliteStore:
        """Nothing of the process remains but the file: what SQLite had not written is not written any more."""
        left = self._left()
        self.store.close()
        for ending, content in left.items():
            self.path.with_name(self.path.name + ending).write_bytes(content)
        self.sent.clear()
        self.store = self.opened()
        return self.store

    def as_a_crash_leaves_it(self, path: Path) -> list[Record]:
        """What the next process would find if this one were killed now; `path` is where it looks."""
        for ending, content in self._left().items():
            path.with_name(path.name + ending).write_bytes(content)
        store = SqliteStore(path, self.clock, synchronous="off")
        records = store.records()
        store.close()
        return records

    def _left(self) -> dict[str, bytes]:
        """The file and its log, by what their names end with."""
        return {ending: Path(f"{self.path}{ending}").read_bytes() for ending in ("", "-wal")}
