"""Delivered files: which ones there are for which days, and whether their columns are the declared ones."""

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
from include.sources.connections import Connections
from include.sources.errors import ColumnError, CorruptFileError, EmptyFileError, MissingFileError
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
        columns: Its columns and their types, in its order; of JSON lines, the keys of its first lines.
        undeclared: Those of them that the source does not declare, sorted.
        rows: Its rows, where the format says so without being read.
    """

    source: str
    day: dt.date
    file: StoredFile
    columns: Mapping[str, str]
    undeclared: tuple[str, ...]
    rows: int | None


@dataclass(frozen=True)
class Deliveries:
    """The files of one source for some days.

    Attributes:
        storage: Where they lie.
        present: Every file there, of whatever day.
        items: Those of the days, opened.
    """

    storage: DailyFiles
    present: Mapping[dt.date, StoredFile]
    items: tuple[Delivery, ...]

    def within(self, days: DayRange) -> Deliveries:
        """Return those of ``days`` alone."""
        return replace(self, items=tuple(item for item in self.items if item.day in days))


class _Head(NamedTuple):
    columns: dict[str, str]
    rows: int | None = None


def find_deliveries(name: str, source: Source, connections: Connections, days: DayRange) -> Deliveries:
    """Return the files of source ``name`` delivered for ``days``, each one opened.

    A source of events or changes has one file for each day. A snapshot has one whenever it was delivered, and must
    have been delivered by the last of the days.

    Args:
        name: The source's name.
        source: Its configuration, with ``files``.
        connections: Where files arrive.
        days: The days wanted.

    Raises:
        SourceConnectionError: The address cannot be listed.
        MissingFileError: A day's file, or every snapshot, is missing.
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
    """Compare the columns of every file with those declared; keys that a line of JSON lacks are seen when it is read.

    Raises:
        ColumnError: A file lacks a declared column.
    """
    if files_of(source).format == "jsonl":
        return
    for item in deliveries.items:
        for column in sorted(set(source.columns) - set(item.columns)):
            raise missing_column(column, item.file.uri, source)


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


def open_delivery(name: str, source: Source, storage: DailyFiles, day: dt.date, file: StoredFile) -> Delivery:
    """Return what a file says of itself: its columns, and its rows where its format tells.

    Raises:
        EmptyFileError: It has no content.
        UnreadableFileError: It cannot be opened.
        CorruptFileError: It cannot be read.
    """
    # Without a row, JSON lines have no byte either.
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
        # A damaged gzip is an OSError without a number, and so is Parquet's idea of an unexpected end.
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
    return _Head({field.name: str(field.type) for field in file.schema_arrow}, file.metadata.num_rows)


def _csv_head(stream: IO[bytes]) -> _Head:
    # Excel writes a byte-order mark, which is no part of the first column's name.
    names = next(csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")), [])
    if len(set(names)) < len(names):
        raise ValueError("a column appears twice")
    return _Head(dict.fromkeys(names, "text"))


def _json_head(stream: IO[bytes]) -> _Head:
    columns: dict[str, str] = {}
    for line in (line for _, line in zip(range(_HEAD_LINES), stream, strict=False) if line.strip()):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is not an object")
        columns |= dict.fromkeys(row, "text")
    return _Head(columns)
