"""Delivered files: find the files of given days, read their headers, and check their columns."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.projects import Source
from include.projects.sources import Files
from include.sources.column_types import TEXT, FoundType, arrow_type
from include.sources.connections import Connections
from include.sources.errors import ColumnError, CorruptFileError, EmptyFileError, MissingFileError
from include.sources.storage import DailyFiles, StoredFile, is_access_failure, no_access

_KINDS = {"csv": "CSV in UTF-8", "jsonl": "JSON lines", "parquet": "Parquet"}
_HEAD_LINES = 100
"""Number of lines of a JSON-lines file from which its columns are taken."""


@dataclass(frozen=True)
class Delivery:
    """One delivered file.

    Attributes:
        source: The name of the source.
        day: The day for which it was delivered.
        file: Its address and size.
        columns: Its columns and their types, in file order; for JSON lines, the keys of the first lines.
        undeclared: The columns that the source does not declare, sorted.
        rows: The number of rows, if the format stores it.
    """

    source: str
    day: dt.date
    file: StoredFile
    columns: Mapping[str, FoundType]
    undeclared: tuple[str, ...]
    rows: int | None


@dataclass(frozen=True)
class Deliveries:
    """The files of one source for some days.

    Attributes:
        storage: Their storage.
        present: Every existing file, by day.
        items: The deliveries of the requested days.
    """

    storage: DailyFiles
    present: Mapping[dt.date, StoredFile]
    items: tuple[Delivery, ...]

    def within(self, days: DayRange) -> Deliveries:
        """Return only the deliveries of ``days``."""
        return replace(self, items=tuple(item for item in self.items if item.day in days))


class _Head(NamedTuple):
    columns: dict[str, FoundType]
    rows: int | None = None


def find_deliveries(name: str, source: Source, connections: Connections, days: DayRange) -> Deliveries:
    """Find the files of a source for ``days`` and read their headers.

    A source of kind ``events`` or ``changes`` must have a file for each day. A ``snapshot`` source must have at least
    one delivery by the last day.

    Args:
        name: The name of the source.
        source: Its configuration, with ``files``.
        connections: The addresses.
        days: The requested days.

    Raises:
        SourceConnectionError: The address cannot be listed.
        MissingFileError: The file of a day, or the first snapshot, is missing.
        EmptyFileError: A file has no content.
        UnreadableFileError: A file cannot be opened.
        CorruptFileError: A file cannot be read.
    """
    storage = DailyFiles(connections.address(files_of(source).path))
    present = storage.list()
    if source.is_daily:
        _require_every_day(source, storage, present, days)
    elif not any(day <= days.last for day in present):
        raise MissingFileError(
            f"No snapshot was delivered by {days.last}.",
            where=storage.address,
            remedy=f"Ask {source.owner} for a first full delivery.",
        )
    items = tuple(open_delivery(name, source, storage, day, present[day]) for day in days if day in present)
    return Deliveries(storage, present, items)


def require_columns(source: Source, deliveries: Deliveries) -> None:
    """Check that every file has the declared columns; the keys of JSON lines are checked when the lines are read.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.

    Raises:
        ColumnError: A file lacks a declared column.
    """
    if files_of(source).format == "jsonl":
        return
    for item in deliveries.items:
        for column in sorted(set(source.columns) - set(item.columns)):
            raise missing_column(column, item.file.uri, source)


def files_of(source: Source) -> Files:
    """Return the ``files`` configuration of a source that is read from files."""
    assert source.files is not None  # noqa: S101
    return source.files


def missing_column(column: str, where: str, source: Source) -> ColumnError:
    """Return the error for a delivery that lacks a declared column.

    Args:
        column: The name of the column.
        where: The address of the file.
        source: The configuration of the source.
    """
    return ColumnError(
        f"The file has no column {column!r}.",
        where=where,
        remedy=f"Ask {source.owner} whether it was renamed; adapt sources.yaml, or ask for a new delivery.",
    )


def corrupt(where: str, source: Source, detail: str = "") -> CorruptFileError:
    """Return the error for a file that cannot be parsed in its format.

    Args:
        where: The address of the file.
        source: The configuration of the source.
        detail: Appended to the message.
    """
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
                remedy=f"Ask {source.owner} to deliver it, then run churn_ingest for that day again.",
            )


def open_delivery(name: str, source: Source, storage: DailyFiles, day: dt.date, file: StoredFile) -> Delivery:
    """Read the header of a file: its columns and, if the format stores it, its number of rows.

    Args:
        name: The name of the source.
        source: Its configuration.
        storage: The storage of the file.
        day: The day of the delivery.
        file: The file.

    Raises:
        EmptyFileError: The file has no content.
        UnreadableFileError: The file cannot be opened.
        CorruptFileError: The file cannot be parsed.
    """
    # A JSON-lines file without rows is empty.
    if file.size == 0 and not (files_of(source).format == "jsonl" and source.allow_no_rows):
        raise EmptyFileError(
            "The file is empty: it has no columns.", where=file.uri, remedy=f"Ask {source.owner} to deliver it again."
        )
    head = _head(source, storage, file)
    undeclared = tuple(sorted(set(head.columns) - set(source.columns)))
    return Delivery(name, day, file, head.columns, undeclared, head.rows)


def _head(source: Source, storage: DailyFiles, file: StoredFile) -> _Head:
    reader = {"csv": _csv_head, "jsonl": _json_head, "parquet": _parquet_head}[files_of(source).format]
    with storage.open(file) as stream:
        try:
            return reader(stream)
        # A damaged gzip file and a truncated Parquet file raise an OSError without an error number.
        except (ValueError, csv.Error, EOFError, zlib.error, pa.ArrowException) as error:
            raise corrupt(file.uri, source) from error
        except OSError as error:
            raise (corrupt(file.uri, source) if error.errno is None else no_access(file.uri, error)) from error
        except Exception as error:
            if is_access_failure(error):
                raise no_access(file.uri, error) from error
            raise


def _parquet_head(stream: IO[bytes]) -> _Head:
    file = pq.ParquetFile(stream)
    return _Head({field.name: arrow_type(field.type) for field in file.schema_arrow}, file.metadata.num_rows)


def _csv_head(stream: IO[bytes]) -> _Head:
    # Excel writes a byte-order mark, which does not belong to the name of the first column.
    names = next(csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")), [])
    if len(set(names)) < len(names):
        raise ValueError("a column appears twice")
    return _Head(dict.fromkeys(names, TEXT))


def _json_head(stream: IO[bytes]) -> _Head:
    columns: dict[str, FoundType] = {}
    for line in (line for _, line in zip(range(_HEAD_LINES), stream, strict=False) if line.strip()):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is not an object")
        columns |= dict.fromkeys(row, TEXT)
    return _Head(columns)
