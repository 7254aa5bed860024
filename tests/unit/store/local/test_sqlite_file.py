"""The file of a store in SQLite: its lock, its schema, and what happens when it is moved."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from resonate_store.interface import StoreError
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import ExecutionFilter, ExecutionSearch
from resonate_store.model.tags import ORIGIN
from tests.support.build import TARGETED, create, get, settle
from tests.support.sqlite import Disk, File


def test_file_is_open_in_one_process(path: Path, clock: ManualClock) -> None:
    store = SqliteStore(path, clock)
    refused = opened_elsewhere(path)
    assert refused.returncode == 1
    assert f"the store in {str(path)!r} is in use by another process" in refused.stderr
    with pytest.raises(StoreError, match="is in use"):
        SqliteStore(path, clock)
    store.apply(create("p"))
    store.close()
    assert opened_elsewhere(path).returncode == 0


def test_file_of_another_program_is_neither_changed_nor_kept_open(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (n)")
        before = path.read_bytes()
        with pytest.raises(StoreError, match="something else") as refused:
            SqliteStore(path)
        assert (path.read_bytes(), len(list(path.parent.iterdir()))) == (before, 1)
        db.execute("INSERT INTO theirs VALUES (1)")
        db.commit()
    assert refused.value
    path.write_text("dear diary, " * 1000)
    with pytest.raises(StoreError, match="is no SQLite database"):
        SqliteStore(path)
    assert path.read_text().startswith("dear diary")


def test_closed_and_refused_stores_leave_no_descriptor_open(file: File) -> None:
    before = os.listdir("/dev/fd")
    SqliteStore(file.path.with_name("other.db")).close()
    with pytest.raises(StoreError, match="is in use"):
        SqliteStore(file.path)
    assert os.listdir("/dev/fd") == before


def test_renamed_file_cannot_be_opened_twice(file: File) -> None:
    """POSIX drops a process's locks on a file when it closes any descriptor of it."""
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))
    for path in (file.path, renamed):
        with pytest.raises(StoreError, match="in use by another process"):
            SqliteStore(path)
    assert file.store.apply(get("p")).status == 200
    assert "is in use by another process" in opened_elsewhere(renamed).stderr


def opened_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    """Open and close a store in another process."""
    script = f"from resonate_store.local.sqlite import SqliteStore; SqliteStore({str(path)!r}).close()"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_relative_path_holds_after_a_change_of_directory(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore("promises.db", clock)) as store:
        monkeypatch.chdir("/")
        assert store.apply(create("p")).ok


def test_schema_of_another_version_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="has the schema 99 and this version of Resonate reads 2"):
        SqliteStore(path)


def test_file_of_the_first_schema_gets_the_status_of_executions(path: Path, clock: ManualClock) -> None:
    store = SqliteStore(path, clock)
    for request in (create("p", TARGETED), create("p.1", {ORIGIN: "p"}), create("q"), settle("q", "rejected")):
        assert store.apply(request).ok
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "DROP INDEX executions; ALTER TABLE promise DROP COLUMN status; PRAGMA user_version = 1;"
            " INSERT INTO promise (id, root_at, record) VALUES ('damaged', 1, x'ff')"
        )

    for _ in range(2):  # the second time it is converted
        store = SqliteStore(path, clock)
        expected: dict[ExecutionFilter, list[str]] = {"running": ["p"], "failed": ["q"], "waiting": []}
        for state, found in expected.items():
            response = store.apply(ExecutionSearch(state))
            assert [view.promise.id for view in response.executions or ()] == found
        store.close()


def test_path_that_cannot_be_opened_or_is_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot open .*nowhere"):
        SqliteStore(tmp_path / "nowhere" / "promises.db")
    with pytest.raises(ValueError, match=":memory:"):
        SqliteStore("")


def test_sqlite_synchronous_is_one_of_three_values(path: Path) -> None:
    for synchronous in ("sometimes", "FULL; DROP TABLE promise"):
        with pytest.raises(ValueError, match="'full', 'normal' or 'off'"):
            SqliteStore(path, synchronous=synchronous)  # type: ignore[arg-type]
        assert not path.exists()


def test_sqlite_synchronous_is_full_by_default(path: Path) -> None:
    named: list[tuple[dict[str, Any], int]] = [({"synchronous": "off"}, 0), ({"synchronous": "normal"}, 1), ({}, 2)]
    for arguments, shown in named:
        with Disk.between() as disks:
            store = SqliteStore(path, **arguments)
        assert disks[0].execute("PRAGMA synchronous").fetchone() == (shown,)
        assert disks[0].execute("PRAGMA fullfsync").fetchone() == (int(shown == 2),)
        assert disks[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.close()


def test_new_file_is_readable_by_its_owner_only(file: File) -> None:
    file.store.apply(create("p"))

    assert {path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()} == {0o600}


def test_store_whose_file_was_renamed_refuses_writes(file: File) -> None:
    file.store.apply(create("p"))
    renamed = file.path.rename(file.path.with_name("renamed.db"))

    for write in (lambda: file.store.apply(create("q")), file.store.ready, file.store.clear):
        with pytest.raises(StoreError, match=r"promises.db' was moved.*: stop this process"):
            write()
    assert file.store.apply(get("p")).status == 200
    renamed.rename(file.path)
    assert file.store.apply(create("q")).status == 200


def test_store_whose_file_is_gone_is_not_ready(file: File) -> None:
    file.path.unlink()
    with pytest.raises(StoreError, match="moved, deleted or replaced"):
        file.store.ready()
    file.path.write_bytes(b"")
    with pytest.raises(StoreError, match="moved, deleted or replaced"):
        file.store.ready()


@pytest.mark.parametrize("noticed", [True, False])
def test_renamed_file_has_all_acknowledged_writes(file: File, noticed: bool) -> None:
    """After the close of its store, and from the moment at which the store notices."""
    file.store.apply(create("p"))
    found = [file.path.rename(file.path.with_name("renamed.db"))]
    if noticed:
        with pytest.raises(StoreError):
            file.store.ready()
        assert Path(f"{file.path}-wal").stat().st_size == 0
        found.append(found[0].with_name("copy.db"))
        found[1].write_bytes(found[0].read_bytes())
    file.store.close()

    for path in found:
        with closing(SqliteStore(path)) as store:
            assert [record.id for record in store.records()] == ["p"]


def test_store_on_a_full_disk_is_not_ready(file: File) -> None:
    assert file.store.ready()
    file.disk.full = True
    with pytest.raises(StoreError, match="disk is full"):
        file.store.ready()
    file.disk.full = False
