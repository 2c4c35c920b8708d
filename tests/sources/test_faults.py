"""What breaks under the sources: disks that are full, files that may not be read, memory that is too small."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from include.days import DayRange
from include.lake import Lake
from include.local_files import DiskFullError
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.errors import SourceConnectionError, TooLargeError, UnreadableFileError
from tests.sources.conftest import largest_file, project_of, source
from tests.world import FIRST, write_csv

DAY = DayRange.single(FIRST)
HEADER = "payment_id,paid_at,amount,note"
PAYMENTS = project_of(payments=source())


def deliver(landing: Path, rows: int) -> Connections:
    # Notes that do not compress, so that bronze is as large as what arrived.
    lines = [f"{row},{FIRST} 08:00:00,1,{os.urandom(100).hex()}" for row in range(rows)]
    write_csv(landing, "payments", FIRST, [HEADER, *lines])
    return Connections(str(landing))


def require_unchanged(lake: Lake, connections: Connections) -> None:
    """Load once more, for want of space in vain, and see that bronze is as it was."""
    table = lake.table("bronze/payments")
    rows, version = table.read(DAY), table.version()
    with pytest.raises(DiskFullError, match="Free some space, then run the days again") as caught:
        load_bronze(PAYMENTS, lake, connections, DAY)
    assert "bronze/payments" in caught.value.where
    assert table.version() == version
    assert table.read(DAY).equals(rows)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; the limit on a file's size is tested instead")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_bronze_is_as_it_was(tmp_path):
    with small_disk(tmp_path / "disk"):
        lake = Lake(str(tmp_path / "disk" / "lake"))
        load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 10), DAY)
        require_unchanged(lake, deliver(tmp_path / "landing", 20_000))
        load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 20), DAY)  # as soon as it fits
        assert lake.table("bronze/payments").count() == 20


def test_a_file_that_may_not_grow_is_named_and_bronze_is_as_it_was(tmp_path, lake):
    load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 10), DAY)
    connections = deliver(tmp_path / "landing", 20_000)
    with largest_file(1_000_000):
        require_unchanged(lake, connections)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act as a user without rights, since root may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_named(open_folder, lake):
    connections = deliver(open_folder, 5)
    (open_folder / "payments" / f"{FIRST}.csv").chmod(0)
    with as_nobody(), pytest.raises(UnreadableFileError, match=rf"PermissionError.*{FIRST}\.csv"):
        load_bronze(PAYMENTS, lake, connections, DAY)


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(open_folder, lake):
    connections = deliver(open_folder, 5)
    (open_folder / "payments").chmod(0)
    try:
        with as_nobody(), pytest.raises(SourceConnectionError, match="PermissionError"):
            load_bronze(PAYMENTS, lake, connections, DAY)
    finally:
        (open_folder / "payments").chmod(0o755)


def test_too_little_memory_is_not_taken_for_a_damaged_file(tmp_path, lake, monkeypatch):
    connections = deliver(tmp_path / "landing", 50_000)
    connect = duckdb.connect

    def small(*arguments):
        connection = connect(*arguments)
        connection.execute("SET memory_limit = '10MB'; SET max_temp_directory_size = '1MB'")
        return connection

    monkeypatch.setattr(duckdb, "connect", small)
    with pytest.raises(TooLargeError, match="fewer days"):
        load_bronze(PAYMENTS, lake, connections, DAY)
    assert lake.table_names() == []
