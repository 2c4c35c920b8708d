"""What only files can suffer."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import pytest

from include.serving.online_store.base import CustomerFeatures, StoreError
from include.serving.online_store.embedded import EmbeddedStore
from include.serving.online_store.layout import DAY_BYTES
from tests.serving.online_store.conftest import DAY, Ask, Asked, day, rows_of
from tests.serving.online_store.writer import row_of, rows_of_day

CUSTOMERS = {f"c{i}": float(i) for i in range(5000)}


@pytest.fixture
def written(folder: Path, asked: Ask) -> Asked:
    store = asked(EmbeddedStore(folder))
    store.store.put_day(DAY, rows_of(CUSTOMERS))
    return store


@pytest.mark.parametrize("opened", [False, True], ids=["before it is opened", "while it is open"])
def test_file_that_was_cut_is_an_error_and_not_the_end_of_the_process(
    written: Asked, folder: Path, opened: bool
) -> None:
    if opened:
        assert written.get("c1") is not None
    data = folder / "data.mdb"
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)
    for _ in range(2):
        with pytest.raises(StoreError, match="shorter than it says"):
            written.get("c1")


def test_file_of_something_else_is_an_error(written: Asked, folder: Path) -> None:
    (folder / "data.mdb").write_bytes(b"something else " * 10_000)
    with pytest.raises(StoreError, match="cannot be used"):
        written.get("c1")


def test_other_format_is_neither_read_nor_written(written: Asked, folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"0", db=env.open_db(b"meta", txn))
    with pytest.raises(StoreError, match="format"):
        written.get("c1")
    with pytest.raises(StoreError, match="format"):
        written.store.put_day(day(1), rows_of({"c1": 0.0}))


def test_row_that_cannot_be_read_is_an_error_without_its_customer(written: Asked, folder: Path) -> None:
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
def test_row_of_a_day_that_is_none_is_an_error_without_its_customer(written: Asked, folder: Path, ordinal: int) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        customers = env.open_db(b"customers", txn)
        row = txn.get(b"c1", db=customers)
        txn.put(b"c1", ordinal.to_bytes(DAY_BYTES, "big") + row[DAY_BYTES:], db=customers)
    with pytest.raises(StoreError, match="cannot be used") as error:
        written.get("c1")
    assert "c1" not in str(error.value)


def test_file_that_the_system_does_not_give_is_an_error(written: Asked, folder: Path) -> None:
    data = folder / "data.mdb"
    data.unlink()
    data.symlink_to(data)
    with pytest.raises(StoreError, match="cannot be used: Too many levels of symbolic links"):
        written.get("c1")


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path, asked: Ask) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used: Not a directory"):
        asked(EmbeddedStore(tmp_path / "file" / "store")).store.put_day(DAY, rows_of({"c1": 0.0}))


def test_store_that_was_removed_and_written_anew_is_found(written: Asked, folder: Path, asked: Ask) -> None:
    assert written.get("c1") is not None
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="no online store yet"):
        written.get("c1")
    asked(EmbeddedStore(folder)).store.put_day(DAY, rows_of({"c1": 7.0}))
    assert written.get("c1") == CustomerFeatures(DAY, {"spend": 7.0})


def test_file_grows_past_any_size_that_it_began_with(written: Asked, folder: Path) -> None:
    assert written.get("c1") is not None
    before = (folder / "data.mdb").stat().st_size
    written.store.put_day(day(1), rows_of_day(day(1), 120_000))
    assert (folder / "data.mdb").stat().st_size > max(5 * before, 10 * 2**20), "LMDB's own map has 10 MiB"
    assert written.get("c119999") == row_of(day(1))


def test_nobody_else_on_the_machine_reads_it(written: Asked, folder: Path) -> None:
    assert [path.stat().st_mode & 0o007 for path in (folder, *folder.iterdir())] == [0, 0, 0]


def test_id_that_is_too_long_for_a_key_is_refused_without_being_told(written: Asked) -> None:
    with pytest.raises(StoreError, match="longer than 511 bytes") as error:
        written.store.put_day(day(1), rows_of({"c1": 0.0, "x" * 512: 0.0}))
    assert "xxx" not in str(error.value)
    assert written.get("c1") == CustomerFeatures(DAY, {"spend": 1.0})
