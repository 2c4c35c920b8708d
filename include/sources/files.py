"""Delivered files: which ones there are for which days, and whether their columns are the declared ones."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.projects import Source
from include.projects.sources import Files
from include.sources.errors import ColumnError, CorruptFileError, EmptyFileError, MissingFileError
from include.sources.origins import Origins
from include.sources.storage import DailyFiles, StoredFile, is_access_failure, no_access

_KINDS = {"csv": "CSV in UTF-8", "jsonl": "JSON lines", "parquet": "Parquet"}
_HEAD_LINES = 100
"""Lines of a JSON-lines file whose keys are taken for its columns when it is opened."""


@dataclass(frozen=True)
class Delivery:
    """One delivered file.

    Attributes:
        source: The source's name.
        day: The day it was delivered for.
        file: Where it lies, and its bytes.
        columns: Its columns, in its order; of JSON lines, the keys of its first lines.
        undeclared: Those of them that the source does not declare, sorted.
    """

    source: str
    day: dt.date
    file: StoredFile
    columns: tuple[str, ...]
    undeclared: tuple[str, ...]


@dataclass(frozen=True)
class Deliveries:
    """The files of one source for some days, and the storage that holds them."""

    storage: DailyFiles
    items: tuple[Delivery, ...]


def find_deliveries(name: str, source: Source, origins: Origins, days: DayRange) -> Deliveries:
    """Return the files of source ``name`` delivered for ``days``, each one opened and its columns compared.

    A source of events or changes has one file for each day. A snapshot has one whenever it was delivered, and must
    have been delivered by the last of the days.

    Args:
        name: The source's name.
        source: Its configuration, with ``files``.
        origins: Where files arrive.
        days: The days wanted.

    Raises:
        OriginError: The address cannot be listed.
        MissingFileError: A day's file, or every snapshot, is missing.
        EmptyFileError: A file has no content.
        UnreadableFileError: A file cannot be opened.
        CorruptFileError: A file cannot be read.
        ColumnError: A file lacks a declared column.
    """
    storage = DailyFiles(origins.address(files_of(source).path))
    present = storage.list()
    if source.is_daily:
        _require_every_day(source, storage, present, days)
    elif not any(day <= days.last for day in present):
        raise MissingFileError(
            f"No snapshot was delivered by {days.last}.",
            where=storage.address,
            remedy=f"Ask {source.owner} for a first full delivery.",
        )
    return Deliveries(storage, tuple(_open(name, source, storage, day, present[day]) for day in days if day in present))


def files_of(source: Source) -> Files:
    """Return the ``files`` of a source that has them."""
    assert source.files is not None  # noqa: S101
    return source.files


def missing_column(column: str, where: str, source: Source) -> ColumnError:
    """Return the error for a delivery without a declared column."""
    return ColumnError(
        f"The file has no column {column!r}.",
        where=where,
        remedy=f"Ask {source.owner} whether it was renamed; adapt sources.yaml, or have the file delivered again.",
    )


def corrupt(where: str, source: Source, detail: str = "") -> CorruptFileError:
    """Return the error for a file that cannot be read as its format."""
    kind = _KINDS[files_of(source).format]
    return CorruptFileError(
        f"The file cannot be read as {kind}{detail}.", where=where, remedy=f"Ask {source.owner} to deliver it again."
    )


def _require_every_day(
    source: Source, storage: DailyFiles, present: Mapping[dt.date, StoredFile], days: DayRange
) -> None:
    for day in days:
        if day not in present:
            raise MissingFileError(
                "The day's file was not delivered.",
                where=storage.uri(day),
                remedy=f"Ask {source.owner} for it, then run churn_ingest for that day again.",
            )


def _open(name: str, source: Source, storage: DailyFiles, day: dt.date, file: StoredFile) -> Delivery:
    is_jsonl = files_of(source).format == "jsonl"
    # Without a row, JSON lines have no byte either.
    if file.size == 0 and not (is_jsonl and source.allow_no_rows):
        raise EmptyFileError(
            "The file is empty: it has no columns.", where=file.uri, remedy=f"Ask {source.owner} to deliver it again."
        )
    columns = _columns(source, storage, file)
    if not is_jsonl:
        for column in sorted(set(source.columns) - set(columns)):
            raise missing_column(column, file.uri, source)
    return Delivery(name, day, file, tuple(columns), tuple(sorted(set(columns) - set(source.columns))))


def _columns(source: Source, storage: DailyFiles, file: StoredFile) -> list[str]:
    reader = {"csv": _csv_columns, "jsonl": _json_columns, "parquet": _parquet_columns}[files_of(source).format]
    with storage.open(file) as stream:
        try:
            return reader(stream)
        # Before OSError: a damaged gzip is an OSError too, and so is Parquet's idea of an unexpected end.
        except (UnicodeDecodeError, ValueError, csv.Error, EOFError, zlib.error, pa.ArrowException) as error:
            raise corrupt(file.uri, source) from error
        except Exception as error:
            if type(error).__name__ == "BadGzipFile" or (isinstance(error, OSError) and error.errno is None):
                raise corrupt(file.uri, source) from error
            if is_access_failure(error):
                raise no_access(file.uri, error) from error
            raise


def _parquet_columns(stream: IO[bytes]) -> list[str]:
    return list(pq.read_schema(stream).names)


def _csv_columns(stream: IO[bytes]) -> list[str]:
    # Excel writes a byte-order mark, which is no part of the first column's name.
    return next(csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")), [])


def _json_columns(stream: IO[bytes]) -> list[str]:
    columns: dict[str, None] = {}
    for line in (line for _, line in zip(range(_HEAD_LINES), stream, strict=False) if line.strip()):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is not an object")
        columns |= dict.fromkeys(row)
    return list(columns)
