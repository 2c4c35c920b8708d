"""Delivered files: find the files of given days, read their headers, and check their columns."""

from __future__ import annotations

import datetime as dt
import lzma
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import IO, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.projects import Source
from include.projects.sources import Files
from include.sources.column_types import TEXT, FoundType, arrow_type
from include.sources.connections import Connections
from include.sources.csv_format import csv_header, other_separator, separator_error
from include.sources.errors import ColumnError, CorruptFileError, EmptyFileError, MissingFileError, TooLargeError
from include.sources.file_content import HEAD_BYTES, ContentError, OpenFile, recognised, require_text
from include.sources.json_format import json_objects
from include.sources.landing_lineage import record_files_read
from include.sources.storage import DailyFiles, StoredFile, is_access_failure, no_access

_KINDS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
UNNAMED = "unnamed column"
"""The name of a column without a name, followed by its position from 1."""

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
        MissingFileError: The file of a day, or the first snapshot, is missing or not yet complete.
        EmptyFileError: A file has no content.
        UnreadableFileError: A file cannot be opened.
        CorruptFileError: A file cannot be read.
    """
    files = files_of(source)
    storage = DailyFiles(connections.address(files.path), files.compression if files.format != "parquet" else "none")
    found = storage.list()
    incomplete = _incomplete(files, connections, storage, found)
    present = {day: file for day, file in found.items() if day not in incomplete}
    if source.is_daily:
        _require_every_day(source, storage, present, incomplete, days)
    elif not any(day <= days.last for day in present):
        waiting = max((day for day in incomplete if day <= days.last), default=None)
        raise MissingFileError(
            f"No snapshot was delivered by {days.last}"
            + (f"; that of {waiting} is not complete: {incomplete[waiting]}." if waiting else "."),
            where=storage.address,
            remedy=f"Ask {source.owner} for a first full delivery.",
        )
    items = tuple(open_delivery(name, source, storage, day, present[day]) for day in days if day in present)
    record_files_read(source, storage.address, items)
    return Deliveries(storage, present, items)


def require_columns(source: Source, deliveries: Deliveries) -> None:
    """Check that every file has the declared columns; the keys of JSON lines are checked when the lines are read.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.

    Raises:
        ColumnError: A file lacks a declared column.
        CorruptFileError: The header is not in the declared dialect.
    """
    files = files_of(source)
    if files.format == "jsonl":
        return
    delivered = {source.delivered_name(column) for column in source.columns}
    for item in deliveries.items:
        for column in sorted(delivered - set(item.columns)):
            if files.format == "csv" and not any(similar_names(name, item.columns) for name in delivered):
                raise _corrupt(source, item.file, _wrong_header(list(item.columns), files))
            raise missing_column(column, item.file.uri, source, item.columns)


def _wrong_header(names: list[str], files: Files) -> ContentError:
    """Return the error for a header without any declared column."""
    if separator := other_separator(names, files):
        return separator_error(separator, f"line 1 has only one column, {names[0]!r}")
    return ContentError(
        f"its first line has none of the declared columns: {_shown(names)}; the likely cause is a line of text before"
        " the header",
        "Ask for a file whose first line is the header, or adapt sources.yaml.",
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def files_of(source: Source) -> Files:
    """Return the ``files`` configuration of a source that is read from files."""
    assert source.files is not None  # noqa: S101
    return source.files


def missing_column(column: str, where: str, source: Source, found: Iterable[str]) -> ColumnError:
    """Return the error for a delivery that lacks a declared column.

    Args:
        column: The name of the column in the delivery.
        where: The address of the file or table.
        source: The configuration of the source.
        found: The columns of the delivery.
    """
    names = list(found)
    if similar := similar_names(column, names):
        what, remedy = f", but a column {similar[0]!r}.", f"Set delivered_as: {similar[0]!r} for it in sources.yaml."
    else:
        what = f"; its columns are {_shown(names)}." if names else "."
        remedy = f"Ask {source.owner} whether it was renamed; adapt sources.yaml, or ask for a new delivery."
    return ColumnError(
        f"The {'table' if source.database else 'file'} has no column {column!r}{what}", where=where, remedy=remedy
    )


def similar_names(name: str, others: Iterable[str]) -> list[str]:
    """Return the names that differ from a name only in case, blanks and characters that have no width.

    Args:
        name: The name.
        others: The names to compare.
    """
    return [other for other in others if _plain(other) == _plain(name)]


def _plain(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(mark for mark in text if not mark.isspace() and unicodedata.category(mark) != "Cf")


@contextmanager
def content_errors(source: Source, file: StoredFile) -> Iterator[None]:
    """Convert errors of reading a file into errors with the file's address and a remedy.

    Args:
        source: The configuration of the source.
        file: The file.

    Raises:
        CorruptFileError: The content is not as declared.
        TooLargeError: The content does not fit into memory.
        UnreadableFileError: The storage does not answer.
    """
    try:
        yield
    except ContentError as error:
        raise _corrupt(source, file, error) from error
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        raise TooLargeError(
            "The file does not fit into memory.", where=file.uri, remedy="Load fewer days at a time."
        ) from error
    # A damaged gzip file and a truncated Parquet file raise an OSError without an error number.
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, duckdb.Error) as error:
        raise _corrupt(source, file, ContentError(_first_line(error))) from error
    except OSError as error:
        if error.errno is not None:
            raise no_access(file.uri, error) from error
        remedy = "Set compression: none for the source if its files are not compressed, or ask for a new delivery."
        raise _corrupt(source, file, ContentError(_first_line(error), remedy)) from error
    except Exception as error:
        if is_access_failure(error):
            raise no_access(file.uri, error) from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _corrupt(source: Source, file: StoredFile, error: ContentError) -> CorruptFileError:
    return CorruptFileError(
        f"The file cannot be read as {_KINDS[files_of(source).format]}: {error.what}.",
        where=file.uri,
        remedy=error.remedy or f"Ask {source.owner} to deliver it again.",
    )


def _incomplete(
    files: Files, connections: Connections, storage: DailyFiles, found: Mapping[dt.date, StoredFile]
) -> dict[dt.date, str]:
    """Return the days with a file that may still be written, and the reasons."""
    reasons: dict[dt.date, str] = {}
    if files.done_marker is not None:
        markers = DailyFiles(connections.address(files.done_marker))
        reasons |= {day: f"its marker {markers.uri(day)} does not exist" for day in set(found) - set(markers.list())}
    if files.min_age_seconds:
        young = [day for day, file in found.items() if storage.age_seconds(file) < files.min_age_seconds]
        reasons |= dict.fromkeys(young, f"it changed less than {files.min_age_seconds} seconds ago (min_age_seconds)")
    return reasons


def _require_every_day(
    source: Source,
    storage: DailyFiles,
    present: Mapping[dt.date, StoredFile],
    incomplete: Mapping[dt.date, str],
    days: DayRange,
) -> None:
    for day in days:
        if day in incomplete:
            raise MissingFileError(
                f"The day's file is not complete: {incomplete[day]}.",
                where=storage.uri(day),
                remedy="Run churn_ingest for that day again when it is complete.",
            )
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
    with content_errors(source, file):
        head = _head(source, partial(storage.open, file)) if file.size else _Head({})
    # A JSON-lines file without rows is empty.
    if not head.columns and not (files_of(source).format == "jsonl" and source.allow_no_rows):
        raise EmptyFileError(
            "The file is empty: it has no columns.", where=file.uri, remedy=f"Ask {source.owner} to deliver it again."
        )
    delivered = {source.delivered_name(column) for column in source.columns}
    undeclared = tuple(sorted(set(head.columns) - delivered))
    return Delivery(name, day, file, head.columns, undeclared, head.rows)


def _head(source: Source, open_file: OpenFile) -> _Head:
    files = files_of(source)
    if files.format == "parquet":
        with open_file() as stream:
            _require_parquet(stream.read(HEAD_BYTES))
            stream.seek(0)
            file = open_parquet(stream)
            types = [arrow_type(field.type) for field in file.schema_arrow]
            return _Head(_by_name(file.schema_arrow.names, types), file.metadata.num_rows)
    with open_file() as stream:
        start = stream.read(HEAD_BYTES)
    require_text(start, files.encoding)
    if files.format == "jsonl":
        objects = [content for _, content, _ in islice(json_objects(open_file, files, []), _HEAD_LINES)]
        return _Head(dict.fromkeys((name for content in objects for name in content), TEXT))
    if start.lstrip().startswith((b'{"', b"[{", b"[\n")):
        raise ContentError("its content is JSON", "Set format: jsonl in sources.yaml if each line is one object.")
    names = csv_header(open_file, files)
    return _Head(_by_name(names, [TEXT] * len(names)))


def open_parquet(stream: IO[bytes]) -> pq.ParquetFile:
    """Open a Parquet file; the times of Spark's type INT96 keep their years, which nanoseconds cannot represent.

    Args:
        stream: The file.
    """
    return pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")


def _require_parquet(head: bytes) -> None:
    if not head.startswith(b"PAR1"):
        raise ContentError(f"its content is {recognised(head) or 'text'}")


def _by_name(names: list[str], types: list[FoundType]) -> dict[str, FoundType]:
    named = [name or f"{UNNAMED} {position}" for position, name in enumerate(names, 1)]
    for name in named:
        if named.count(name) > 1:
            places = " and ".join(str(position) for position, other in enumerate(named, 1) if other == name)
            raise ContentError(f"the columns {places} are both named {name!r}")
    return dict(zip(named, types, strict=True))
