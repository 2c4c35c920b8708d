"""Faults of the environment: full disks, missing permissions, too little memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv

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
    # Random notes do not compress, so that bronze is as large as the delivery.
    lines = [f"{row},{FIRST} 08:00:00,1,{os.urandom(100).hex()}" for row in range(rows)]
    write_csv(landing, "payments", FIRST, [HEADER, *lines])
    return Connections(str(landing))


def require_unchanged(lake: Lake, connections: Connections) -> None:
    """Check that loading fails for lack of space and leaves bronze unchanged."""
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
        pytest.skip("only root may mount a small disk; another test covers the limit of the file size")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_full_disk_leaves_bronze_unchanged(tmp_path):
    with small_disk(tmp_path / "disk"):
        lake = Lake(str(tmp_path / "disk" / "lake"))
        load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 10), DAY)
        require_unchanged(lake, deliver(tmp_path / "landing", 20_000))
        load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 20), DAY)  # a delivery that fits
        assert lake.table("bronze/payments").count() == 20


def test_file_size_limit_leaves_bronze_unchanged(tmp_path, lake):
    load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 10), DAY)
    connections = deliver(tmp_path / "landing", 20_000)
    with largest_file(1_000_000):
        require_unchanged(lake, connections)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's temporary folders."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_unprivileged_user() -> Iterator[None]:
    """Act as an unprivileged user, since root may read every file."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_error_for_an_unreadable_file_contains_its_path(open_folder, lake):
    connections = deliver(open_folder, 5)
    (open_folder / "payments" / f"{FIRST}.csv").chmod(0)
    with as_unprivileged_user(), pytest.raises(UnreadableFileError, match=rf"PermissionError.*{FIRST}\.csv"):
        load_bronze(PAYMENTS, lake, connections, DAY)


def test_unreadable_folder_is_an_error(open_folder, lake):
    connections = deliver(open_folder, 5)
    (open_folder / "payments").chmod(0)
    try:
        with as_unprivileged_user(), pytest.raises(SourceConnectionError, match="PermissionError"):
            load_bronze(PAYMENTS, lake, connections, DAY)
    finally:
        (open_folder / "payments").chmod(0o755)


def test_out_of_memory_is_not_reported_as_a_corrupt_file(tmp_path, lake, monkeypatch):
    def fail(*_, **__):
        raise pa.ArrowMemoryError("malloc of size 4294967296 failed")

    # A real memory limit ends the process inside a C++ library instead of raising an error.
    monkeypatch.setattr(arrow_csv, "open_csv", fail)
    with pytest.raises(TooLargeError, match="fewer days"):
        load_bronze(PAYMENTS, lake, deliver(tmp_path / "landing", 10), DAY)
    assert lake.table_names() == []
