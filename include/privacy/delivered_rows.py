"""The content of a delivered file without some of its rows.

The other rows keep their texts (CSV, JSON lines) or their types (Parquet). The new content is read as an ingest would
read it, and is returned only if exactly the given rows are missing.
"""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import gzip
import io
import lzma
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import ChurnflowError
from include.projects import Source
from include.projects.sources import Files
from include.sources.bronze_tables import FILE, ROW
from include.sources.csv_format import SEPARATOR_LINE
from include.sources.delivered_files import Deliveries, files_of, open_delivery, open_parquet
from include.sources.file_content import compression_of
from include.sources.read_files import read_files
from include.sources.storage import DailyFiles, StoredFile


class RewriteError(ChurnflowError):
    """A delivered file cannot be written again without some of its rows; it is unchanged."""


def content_without(
    name: str, source: Source, storage: DailyFiles, day: dt.date, file: StoredFile, removed: Collection[int]
) -> bytes:
    """Return the content of a file without some rows.

    Args:
        name: The name of the source.
        source: Its configuration.
        storage: The storage of the file.
        day: The day of its delivery.
        file: The file.
        removed: The numbers of the rows in bronze, from 1.

    Raises:
        RewriteError: The new content would not have exactly the other rows.
        ChurnflowError: The file cannot be read.
    """
    files = files_of(source)
    with storage.open(file) as stream:
        old = stream.read()
    content = _compressed(_FORMATS[files.format](old, files, removed), files, file.name)
    expected = _rows(name, source, storage, day, file)
    expected = expected.filter(pc.invert(pc.is_in(expected[ROW], value_set=pa.array(removed, pa.int64()))))
    if len(expected) and not _read_again(name, source, day, file, content).equals(expected.drop_columns([FILE, ROW])):
        raise RewriteError(
            "The file cannot be written again without the customer's rows and with all other rows unchanged.",
            where=file.uri,
            remedy="Remove the rows by hand, or delete the file.",
        )
    return content


def _rows(name: str, source: Source, storage: DailyFiles, day: dt.date, file: StoredFile) -> pa.Table:
    return read_files(source, Deliveries(storage, {day: file}, (open_delivery(name, source, storage, day, file),)))


def _read_again(name: str, source: Source, day: dt.date, file: StoredFile, content: bytes) -> pa.Table:
    with tempfile.TemporaryDirectory(prefix="churn-erasure-") as folder:
        path = Path(folder) / file.name
        path.write_bytes(content)
        storage = DailyFiles(str(path), files_of(source).compression)
        rows = _rows(name, source, storage, day, StoredFile(str(path), len(content)))
    return rows.drop_columns([FILE, ROW])


def _without_parquet_rows(content: bytes, files: Files, removed: Collection[int]) -> bytes:
    old = open_parquet(io.BytesIO(content))
    rows = old.read()
    kept = pc.invert(pc.is_in(pa.array(range(1, len(rows) + 1)), value_set=pa.array(removed, pa.int64())))
    sink = pa.BufferOutputStream()
    compression = old.metadata.row_group(0).column(0).compression
    others = _without_unused_values(rows.filter(kept))
    pq.write_table(others, sink, compression="none" if compression == "UNCOMPRESSED" else compression)
    return bytes(sink.getvalue())


def _without_unused_values(rows: pa.Table) -> pa.Table:
    """Return the rows with dictionaries of the values that they contain; a filter keeps all values."""
    for position, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            values = rows.column(position).cast(field.type.value_type)
            rows = rows.set_column(position, field, values.dictionary_encode().cast(field.type))
    return rows


def _without_lines(content: bytes, files: Files, removed: Collection[int]) -> bytes:
    """Return JSON lines without some rows; blank lines are no rows."""
    lines, number = [], 0
    for line in _lines(content, files):
        number += bool(line.strip())
        if not line.strip() or number not in removed:
            lines.append(line)
    return "".join(lines).encode(files.encoding)


def _without_records(content: bytes, files: Files, removed: Collection[int]) -> bytes:
    """Return CSV without some rows, which may have several lines; the header and blank lines are no rows."""
    lines = list(_lines(content, files))
    start = 1 if lines and SEPARATOR_LINE.fullmatch(lines[0].removeprefix("\ufeff")) else 0
    kept, end, number = lines[:start], start, -1
    rows = csv.reader(lines[start:], delimiter=files.separator, quotechar=files.quote)
    for row in rows:
        number += bool(row)
        first, end = end, start + rows.line_num
        if not row or number not in removed:
            kept += lines[first:end]
    return "".join(kept).encode(files.encoding)


def _lines(content: bytes, files: Files) -> Iterator[str]:
    # Line breaks are kept as they are.
    return iter(io.StringIO(content.decode(files.encoding), newline=""))


_FORMATS = {"parquet": _without_parquet_rows, "jsonl": _without_lines, "csv": _without_records}


def _compressed(content: bytes, files: Files, name: str) -> bytes:
    match compression_of(name) if files.compression == "infer" and files.format != "parquet" else files.compression:
        case "gzip":
            return gzip.compress(content, mtime=0)
        case "bz2":
            return bz2.compress(content)
        case "xz":
            return lzma.compress(content)
        case "zstd":
            return bytes(pa.compress(content, codec="zstd", asbytes=True))
        case "zip":
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr(Path(name).stem, content)
            return archive.getvalue()
    return content
