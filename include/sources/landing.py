"""The landing folder: which files were delivered for which days, and whether they can be read."""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.errors import ChurnflowError
from include.projects import Source
from include.projects.sources import Files


class MissingFileError(ChurnflowError):
    """A file that should have been delivered was not."""


class EmptyFileError(ChurnflowError):
    """A delivered file holds nothing at all, not even its columns."""


class CorruptFileError(ChurnflowError):
    """A delivered file cannot be read as what it claims to be."""


class ColumnError(ChurnflowError):
    """A delivered file lacks a declared column."""


@dataclass(frozen=True)
class Delivery:
    """One delivered file.

    Attributes:
        source: The source's name.
        day: The day it was delivered for.
        path: Where it lies.
        size: Its bytes.
        columns: Its columns, in its order.
        undeclared: Those of them that the source does not declare, sorted.
    """

    source: str
    day: dt.date
    path: Path
    size: int
    columns: tuple[str, ...]
    undeclared: tuple[str, ...]


def find_deliveries(name: str, source: Source, landing: Path, days: DayRange) -> list[Delivery]:
    """Return the files of source ``name`` delivered for ``days``, each one opened and its columns compared.

    A source of events has one file for each day. A snapshot has one whenever it was delivered, and must have been
    delivered by the last of the days.

    Args:
        name: The source's name.
        source: Its configuration.
        landing: The project's landing folder.
        days: The days wanted.

    Raises:
        MissingFileError: A day's file, or every snapshot, is missing.
        EmptyFileError: A file has no content.
        CorruptFileError: A file cannot be read.
        ColumnError: A file lacks a declared column.
    """
    files = _files(source)
    paths = {day: landing / files.path.format(day=day) for day in days}
    if source.is_daily:
        for path in paths.values():
            if not path.exists():
                raise MissingFileError(
                    "The day's file was not delivered.",
                    where=str(path),
                    remedy=f"Ask {source.owner} for it, then run churn_ingest for that day again.",
                )
    elif not any(path.exists() for path in paths.values()):
        _require_earlier_snapshot(source, landing, days.last)
    return [_open(name, source, day, path) for day, path in paths.items() if path.exists()]


def _files(source: Source) -> Files:
    assert source.files is not None  # noqa: S101
    return source.files


def _require_earlier_snapshot(source: Source, landing: Path, last: dt.date) -> None:
    pattern = landing / _files(source).path
    latest_possible = pattern.name.format(day=last)
    candidates = pattern.parent.glob(pattern.name.format(day="????-??-??"))
    if not any(path.name <= latest_possible for path in candidates):
        raise MissingFileError(
            f"No snapshot was delivered by {last}.",
            where=str(pattern),
            remedy=f"Ask {source.owner} for a first full delivery.",
        )


def _open(name: str, source: Source, day: dt.date, path: Path) -> Delivery:
    size = path.stat().st_size
    if size == 0:
        raise EmptyFileError(
            "The file is empty: it has no columns.", where=str(path), remedy=f"Ask {source.owner} to deliver it again."
        )
    columns = _parquet_columns(path, source) if _files(source).format == "parquet" else _csv_columns(path, source)
    missing = sorted(set(source.columns) - set(columns))
    if missing:
        raise ColumnError(
            f"The file has no column {missing[0]!r}.",
            where=str(path),
            remedy=f"Ask {source.owner} whether it was renamed; adapt sources.yaml, or have the file delivered again.",
        )
    return Delivery(name, day, path, size, tuple(columns), tuple(sorted(set(columns) - set(source.columns))))


def _parquet_columns(path: Path, source: Source) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(str(path), source, "Parquet") from error


def _csv_columns(path: Path, source: Source) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return next(csv.reader(stream), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(str(path), source, "CSV in UTF-8") from error


def unreadable(where: str, source: Source, kind: str) -> CorruptFileError:
    """Return the error for a file that cannot be read as ``kind``."""
    return CorruptFileError(
        f"The file cannot be read as {kind}.", where=where, remedy=f"Ask {source.owner} to deliver it again."
    )
