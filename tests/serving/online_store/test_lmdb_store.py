"""Failures of the LMDB files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from include.serving.online_store import CustomerFeatures, StoreError
from include.serving.online_store.lmdb_store import LmdbStore
from include.serving.online_store.row_format import DAY_BYTES
from include.settings import ROOT
from tests.serving.online_store.conftest import DAY, MakeSync, SyncStore, day, rows_of
from tests.serving.online_store.writer import row_of, rows_of_day

_READER = """
import asyncio, json, sys
from pathlib import Path
from include.serving.online_store.lmdb_store import LmdbStore
store = LmdbStore(Path(sys.argv[1]), "synthetic")
for line in sys.stdin:
    found = [asyncio.run(store.get(customer)) for customer in line.split()]
    print(json.dumps([row and str(row.day) for row in found]), flush=True)
"""
CUSTOMERS = {f"c{i}": float(i) for i in range(5000)}


@pytest.fixture
def written(folder: Path, make_sync: MakeSync) -> SyncStore:
    store = make_sync(LmdbStore(folder, "synthetic"))
    store.backend.put_day(DAY, rows_of(CUSTOMERS))
    return store


@pytest.mark.parametrize("opened", [False, True], ids=["before it is opened", "while it is open"])
def test_truncated_file_is_an_error_and_does_not_end_the_process(
    written: SyncStore, folder: Path, opened: bool
) -> None:
    if opened:
        assert written.get("c1") is not None
    data = folder / "data.mdb"
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)
    for _ in range(2):
        with pytest.raises(StoreError, match="shorter than its header states"):
            written.get("c1")


def test_file_that_lmdb_did_not_write_is_an_error(written: SyncStore, folder: Path) -> None:
    (folder / "data.mdb").write_bytes(b"something else " * 10_000)
    with pytest.raises(StoreError, match="cannot be used"):
        written.get("c1")


def test_other_format_is_neither_read_nor_written(written: SyncStore, folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"0", db=env.open_db(b"meta", txn))
    with pytest.raises(StoreError, match="format"):
        written.get("c1")
    with pytest.raises(StoreError, match="format"):
        written.backend.put_day(day(1), rows_of({"c1": 0.0}))
    assert written.backend.is_outdated()
    written.backend.clear()
    assert not written.backend.is_outdated()
    written.backend.put_day(day(1), rows_of({"c1": 0.0}))
    assert written.get("c2") is None


def test_damaged_row_is_an_error_that_does_not_name_the_customer(written: SyncStore, folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        customers = env.open_db(b"customers", txn)
        txn.put(b"c1", txn.get(b"c2", db=customers)[:-1], db=customers)
        txn.put(b"c3", b"short", db=customers)
        txn.put(b"c4", bytes(50), db=customers)
    for customer in ("c1", "c3", "c4"):
        with pytest.raises(StoreError, match="cannot be used") as error:
            written.get(customer)
        assert customer not in str(error.value)
    assert written.get("c2") == CustomerFeatures(DAY, {"spend": 2.0})


@pytest.mark.parametrize("ordinal", [0, 2**31 - 1, 2**32 - 1])
def test_impossible_day_is_an_error_that_does_not_name_the_customer(
    written: SyncStore, folder: Path, ordinal: int
) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        customers = env.open_db(b"customers", txn)
        row = txn.get(b"c1", db=customers)
        txn.put(b"c1", ordinal.to_bytes(DAY_BYTES, "big") + row[DAY_BYTES:], db=customers)
    with pytest.raises(StoreError, match="cannot be used") as error:
        written.get("c1")
    assert "c1" not in str(error.value)


def test_unreadable_file_is_an_error(written: SyncStore, folder: Path) -> None:
    data = folder / "data.mdb"
    data.unlink()
    data.symlink_to(data)
    with pytest.raises(StoreError, match="cannot be used: Too many levels of symbolic links"):
        written.get("c1")


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path, make_sync: MakeSync) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used: Not a directory"):
        make_sync(LmdbStore(tmp_path / "file" / "store", "synthetic")).backend.put_day(DAY, rows_of({"c1": 0.0}))


def test_store_that_is_removed_and_rebuilt_is_read(written: SyncStore, folder: Path, make_sync: MakeSync) -> None:
    assert written.get("c1") is not None
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="no online store yet"):
        written.get("c1")
    make_sync(LmdbStore(folder, "synthetic")).backend.put_day(DAY, rows_of({"c1": 7.0}))
    assert written.get("c1") == CustomerFeatures(DAY, {"spend": 7.0})


def test_file_of_another_project_is_refused(written: SyncStore, folder: Path, make_sync: MakeSync) -> None:
    other = make_sync(LmdbStore(Path(shutil.copytree(folder, folder.with_name("other"))), "other"))
    for use in (lambda: other.get("c1"), lambda: other.backend.put_day(DAY, rows_of({"c1": 7.0}))):
        with pytest.raises(StoreError, match="belongs to project 'synthetic'"):
            use()
    assert written.get("c1") is not None


def test_file_grows_beyond_lmdbs_default_map(written: SyncStore, folder: Path) -> None:
    assert written.get("c1") is not None
    before = (folder / "data.mdb").stat().st_size
    written.backend.put_day(day(1), rows_of_day(day(1), 120_000))
    assert (folder / "data.mdb").stat().st_size > max(5 * before, 10 * 2**20), "LMDB's default map has 10 MiB"
    assert written.get("c119999") == row_of(day(1))


def test_file_has_no_bytes_of_an_erased_row(written: SyncStore, folder: Path) -> None:
    for number in range(5):
        written.backend.put_day(day(number), rows_of({f"customer-{row:04}": float(number) for row in range(300)}))
    assert b"customer-0007" in (folder / "data.mdb").read_bytes()
    written.backend.erase("customer-0007")
    content = (folder / "data.mdb").read_bytes()
    assert b"customer-0007" not in content
    assert b"customer-0008" in content


@contextmanager
def reading_process(folder: Path) -> Iterator[Callable[..., list[str | None]]]:
    """Run a process that keeps the store open, and return a function that asks it for the days of customers."""
    command = [sys.executable, "-c", _READER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(*customers: str) -> list[str | None]:
            print(*customers, file=process.stdin, flush=True)
            days: list[str | None] = json.loads(process.stdout.readline())
            return days

        yield ask
        process.stdin.close()


def test_erasure_is_seen_by_other_processes_that_have_the_file_open(written: SyncStore, folder: Path) -> None:
    written.backend.put_day(day(1), rows_of({"c1": 1.0, "c2": 1.0}))
    with reading_process(folder) as ask:
        assert ask("c1", "c2") == [str(day(1))] * 2
        written.backend.erase("c1")
        assert ask("c1", "c2") == [None, str(day(1))]
        # The processes share the number of the last transaction, by which LMDB selects one of two states of the file.
        for number in range(2, 6):
            written.backend.put_day(day(number), rows_of({"c3": 1.0}))
            assert ask("c1", "c2", "c3") == [None, str(day(1)), str(day(number))]


def test_other_users_have_no_access(written: SyncStore, folder: Path) -> None:
    assert {path.stat().st_mode & 0o007 for path in (folder, *folder.iterdir())} == {0}


def test_id_longer_than_a_key_is_an_error_that_does_not_repeat_it(written: SyncStore) -> None:
    with pytest.raises(StoreError, match="longer than 511 bytes") as error:
        written.backend.put_day(day(1), rows_of({"c1": 0.0, "x" * 512: 0.0}))
    assert "xxx" not in str(error.value)
    assert written.get("c1") == CustomerFeatures(DAY, {"spend": 1.0})
