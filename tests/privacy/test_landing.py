"""Erasure from delivered files of every format: only the customer's rows are missing afterwards."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.traces import find_traces
from include.errors import ChurnflowError
from include.privacy.landing import ErasedFile, erase_from_landing
from include.projects import Source
from include.sources.connections import Connections
from include.sources.storage import DailyFiles
from tests.s3 import s3_server
from tests.sources.conftest import project_of, source

DAY = dt.date(2024, 1, 5)
ID = "c-7f"
HEADER = "payment_id;paid_at;member"


def source_of(path: str, kind: str = "string", **files: Any) -> Source:
    columns = {"payment_id": {"type": "string"}, "paid_at": {"type": "timestamp"}, "member": {"type": kind}}
    return source(columns=columns, customer="member", files={"path": path} | files)


def erase(landing: str | Path, configured: Source, customer: str = ID, *, dry_run: bool = False) -> list[Any]:
    connections = Connections(str(landing))
    return list(erase_from_landing(project_of(payments=configured), connections, customer.__eq__, dry_run=dry_run))


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("files", "old", "new"),
    [
        ({}, "payment_id,paid_at,member\n1,x,a\n2,x,c-7f\n3,x,b\n", "payment_id,paid_at,member\n1,x,a\n3,x,b\n"),
        # Line breaks, quotes, blank lines and a missing line break at the end are kept.
        (
            {"separator": ";"},
            'payment_id;paid_at;member\r\n\r\n"1\n;";x;"a"\r\n"2\r\n2";x;" c-7f "\r\n3;x;b',
            'payment_id;paid_at;member\r\n\r\n"1\n;";x;"a"\r\n3;x;b',
        ),
        ({"separator": ";"}, f"sep=;\n{HEADER}\n1;x;c-7f\n3;x;b\n", f"sep=;\n{HEADER}\n3;x;b\n"),
        *(
            ({"encoding": encoding, "separator": ";"}, f"{HEADER}\n1;é;c-7f\n3;é;b\n", f"{HEADER}\n3;é;b\n")
            for encoding in ("utf-16", "utf-8-sig", "cp1252")
        ),
        ({"separator": ";"}, f"{HEADER};more\n1;x;c-7f;c\n3;x;b;d\n", f"{HEADER};more\n3;x;b;d\n"),
        (
            {"unreadable_rows": "quarantine"},
            "payment_id,paid_at,member\n1,x\n2,x,y,c-7f\n3,x,b\n4,c-7f\n5,x,c-7f\n6,x,d\n",
            "payment_id,paid_at,member\n1,x\n3,x,b\n6,x,d\n",
        ),
    ],
)
def test_other_rows_of_csv_keep_their_bytes(tmp_path: Path, files: dict[str, Any], old: str, new: str) -> None:
    encoding = files.get("encoding", "utf-8")
    path = write(tmp_path, f"p/{DAY}.csv", old.encode(encoding))
    configured = source_of("p/{day}.csv", format="csv", **files)
    rows = 3 if "unreadable_rows" in files else 1
    assert erase(tmp_path, configured, dry_run=True) == [ErasedFile(str(path), rows)]
    assert path.read_bytes() == old.encode(encoding)
    assert erase(tmp_path, configured) == [ErasedFile(str(path), rows)]
    assert path.read_bytes() == new.encode(encoding)
    assert erase(tmp_path, configured) == []


def test_other_lines_of_json_keep_their_bytes(tmp_path: Path) -> None:
    lines = [
        '{"payment_id": "1", "paid_at": "x",  "member": "a", "more": [1.50]}\r\n',
        "\n",
        '{"member": "c-7f", "payment_id": 2, "paid_at": "x"}\n',
        '{"payment_id": "3", "paid_at": "x", "member": "b", "note": "ü\\u00fc"}\n',
        '{"payment_id": "4", "member": "c-7f"',
    ]
    path = write(tmp_path, f"p/{DAY}.jsonl", "".join(lines).encode())
    configured = source_of("p/{day}.jsonl", format="jsonl", unreadable_rows="quarantine")
    assert erase(tmp_path, configured) == [ErasedFile(str(path), 2)]
    assert path.read_bytes().decode() == lines[0] + lines[1] + lines[3]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_compressed_files_stay_compressed(tmp_path: Path, suffix: str) -> None:
    old, new = b"payment_id,paid_at,member\n1,x,c-7f\n3,x,b\n", b"payment_id,paid_at,member\n3,x,b\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("rows.csv", old)
    compressed = {
        "gz": gzip.compress(old),
        "bz2": bz2.compress(old),
        "xz": lzma.compress(old),
        "zst": pa.compress(old, "zstd", asbytes=True),
        "zip": archive.getvalue(),
    }
    path = write(tmp_path, f"p/{DAY}.csv.{suffix}", compressed[suffix])
    assert f"{path}!{'rows.csv' if suffix == 'zip' else 'content'}" in find_traces(tmp_path, ID).places
    configured = source_of(f"p/{{day}}.csv.{suffix}", format="csv")
    assert erase(tmp_path, configured) == [ErasedFile(str(path), 1)]
    storage = DailyFiles(str(path))
    with storage.open(DailyFiles(str(tmp_path / "p" / f"{{day}}.csv.{suffix}")).list()[DAY]) as stream:
        assert stream.read() == new


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_other_rows_of_parquet_keep_their_types(tmp_path: Path, compression: str) -> None:
    rows = pa.table(
        {
            "payment_id": pa.array(["1", "2", "3"]),
            "paid_at": pa.array([1, 2, 3], pa.timestamp("ns", "Europe/Berlin")),
            "member": pa.array(["a", ID, "b"]).dictionary_encode(),
            "more": pa.array([[1.5], None, []], pa.list_(pa.float32())),
        }
    ).replace_schema_metadata({"owner": "billing"})
    path = tmp_path / "p" / f"{DAY}.parquet"
    path.parent.mkdir()
    pq.write_table(rows, path, compression=compression, row_group_size=2)
    before = pq.read_table(path)
    assert erase(tmp_path, source_of("p/{day}.parquet", format="parquet")) == [ErasedFile(str(path), 1)]
    after = pq.read_table(path)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.to_pylist() == [row for row in before.to_pylist() if row["member"] != ID]
    assert (
        pq.read_metadata(path).row_group(0).column(0).compression == compression.replace("none", "uncompressed").upper()
    )
    assert find_traces(tmp_path, ID).places == []


def test_ids_are_typed(tmp_path: Path) -> None:
    path = write(tmp_path, f"p/{DAY}.csv", b"payment_id,paid_at,member\n1,x,00123\n2,x,1230\n3,x, 123\n123,x,4\n")
    assert erase(tmp_path, source_of("p/{day}.csv", "integer", format="csv"), "123") == [ErasedFile(str(path), 2)]
    assert path.read_bytes() == b"payment_id,paid_at,member\n2,x,1230\n123,x,4\n"


def test_file_of_the_customer_only_keeps_its_header(tmp_path: Path) -> None:
    path = write(tmp_path, f"p/{DAY}.csv", b"payment_id,paid_at,member\n1,x,c-7f\n")
    assert erase(tmp_path, source_of("p/{day}.csv", format="csv")) == [ErasedFile(str(path), 1)]
    assert path.read_bytes() == b"payment_id,paid_at,member\n"


def test_unreadable_and_read_only_files_are_reported_and_unchanged(tmp_path: Path) -> None:
    damaged = write(tmp_path, f"p/{DAY}.csv", b"payment_id,paid_at,member\n1,x,c-7f\n2\n")
    configured = source_of("p/{day}.csv", format="csv")
    (error,) = erase(tmp_path, configured)
    assert isinstance(error, ChurnflowError)
    assert (error.where, damaged.read_bytes()) == (str(damaged), b"payment_id,paid_at,member\n1,x,c-7f\n2\n")


def test_files_of_a_source_system_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, f"crm/{DAY}.csv", b"payment_id,paid_at,member\n1,x,c-7f\n")
    assert erase(tmp_path / "landing", source_of(f"{tmp_path}/crm/{{day}}.csv", format="csv")) == []
    assert ID.encode() in path.read_bytes()


@pytest.mark.slow
def test_landing_may_be_an_object_store() -> None:
    with s3_server("landing") as bucket:
        files = DailyFiles(f"{bucket}/p/{{day}}.csv")
        files.filesystem.pipe_file(files.uri(DAY), b"payment_id,paid_at,member\n1,x,c-7f\n2,x,a\n")
        (found,) = erase(bucket, source_of("p/{day}.csv", format="csv"))
        assert found.rows == 1
        assert files.filesystem.cat_file(files.uri(DAY)) == b"payment_id,paid_at,member\n2,x,a\n"
