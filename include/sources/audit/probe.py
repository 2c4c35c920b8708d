"""Looking at a source without loading it: what is there, a sample of it, and how fast it came."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import pyarrow as pa
import sqlalchemy as sa

from include.days import DayRange
from include.projects import Source
from include.sources.audit.model import Speed
from include.sources.bronze_columns import bronze_schema
from include.sources.connections import Connections
from include.sources.delivered_files import (
    Deliveries,
    Delivery,
    files_of,
    find_deliveries,
    open_delivery,
    require_columns,
)
from include.sources.read_files import sample_files
from include.sources.read_table import SourceTable, find_table, newest_watermark, rows_by_day, sample_table

SAMPLE_BYTES = 8_000_000
"""Files sampled: the newest of the days audited, until they are so large together."""

SAMPLE_DAYS = 7
"""Days sampled of a database: the newest with rows."""

SAMPLE_ROWS = 50_000
"""Rows sampled at most."""

_HEAD_BYTES = 1_000_000


@dataclass(frozen=True)
class DayVolume:
    """One delivery's rows and bytes, where they are known."""

    day: dt.date
    rows: int | None
    bytes: int | None


@dataclass(frozen=True)
class Probe:
    """What a source was found to be.

    Attributes:
        connector: How it is read.
        format: Its format.
        location: Its address.
        authentication: How this process proves who it is.
        columns: The columns of its newest delivery and their types there, in their order, then undeclared ones of
            other deliveries.
        layouts: How many different orders of columns its deliveries have.
        volumes: The deliveries of the days audited.
        bytes_per_row: Bytes of a line of the newest file, where rows cannot be counted without reading everything.
        delivered: The days up to the last one that are known to have a delivery.
        sample: Rows in the form of bronze, with those declared columns that were found.
        sampled: The days of the sample.
        is_everything: Whether the sample is all rows of the days audited.
        newest: The newest watermark, where a database told it.
        speed: What was measured.
    """

    connector: str
    format: str
    location: str
    authentication: str
    columns: Mapping[str, str]
    layouts: int
    volumes: Sequence[DayVolume]
    bytes_per_row: float | None
    delivered: Sequence[dt.date]
    sample: pa.Table
    sampled: Sequence[dt.date]
    is_everything: bool
    newest: dt.datetime | None
    speed: Speed


def probe(name: str, source: Source, connections: Connections, days: DayRange) -> Probe:
    """Look at the deliveries of ``days``.

    Raises:
        ChurnflowError: The source cannot be reached, a delivery is missing, or one cannot be read.
    """
    return _probe_table(source, connections, days) if source.database else _probe_files(name, source, connections, days)


def found_columns(source: Source, columns: Mapping[str, object]) -> Source:
    """Return the source as if only those of its columns were declared that are there."""
    return source.model_copy(
        update={"columns": {name: column for name, column in source.columns.items() if name in columns}}
    )


def _probe_files(name: str, source: Source, connections: Connections, days: DayRange) -> Probe:
    start = time.perf_counter()
    found = find_deliveries(name, source, connections, days)
    known = sorted(day for day in found.present if day <= days.last)
    # A snapshot without a delivery in these days: the one in force is looked at.
    items = found.items or (open_delivery(name, source, found.storage, known[-1], found.present[known[-1]]),)
    look_up = time.perf_counter() - start
    # The newest one is compared with the audit before; all must have what is declared.
    require_columns(source, replace(found, items=items[:-1]))
    columns = _all_columns(source, items)
    chosen = replace(found, items=_newest(items))
    start = time.perf_counter()
    sample = sample_files(_readable(source, columns), chosen, SAMPLE_ROWS)
    seconds = time.perf_counter() - start
    if files_of(source).format == "jsonl":
        columns |= {name: "text" for name in source.columns if sample[name].null_count < sample.num_rows}
    is_whole = sample.num_rows < SAMPLE_ROWS
    return Probe(
        connector=found.storage.connector,
        format=files_of(source).format,
        location=found.storage.address,
        authentication=found.storage.authentication,
        columns=columns,
        layouts=len({tuple(item.columns) for item in items}) if files_of(source).format != "jsonl" else 1,
        volumes=_file_volumes(found, sample, chosen.items if is_whole else ()),
        bytes_per_row=_bytes_per_row(found, items[-1]),
        delivered=known,
        sample=sample,
        sampled=[item.day for item in chosen.items] if is_whole else sorted(_rows_by_day(sample)),
        is_everything=is_whole and len(chosen.items) == len(items),
        newest=None,
        speed=_speed(look_up, _first_byte(found, items[-1]), sample, seconds),
    )


def _all_columns(source: Source, items: Sequence[Delivery]) -> dict[str, str]:
    columns = dict(items[-1].columns)
    # A line of JSON may leave out what it has no value for, so that no single file need have every key.
    may_be_anywhere = files_of(source).format == "jsonl"
    for item in items:
        for name, kind in item.columns.items():
            if may_be_anywhere or name not in source.columns:
                columns.setdefault(name, kind)
    return columns


def _newest(items: Sequence[Delivery]) -> tuple[Delivery, ...]:
    sizes = accumulate(item.file.size for item in reversed(items))
    number = sum(size <= SAMPLE_BYTES for size in sizes)
    return tuple(items[-max(number, 1) :])


def _readable(source: Source, columns: Mapping[str, str]) -> Source:
    return source if files_of(source).format == "jsonl" else found_columns(source, columns)


def _file_volumes(found: Deliveries, sample: pa.Table, counted: Sequence[Delivery]) -> list[DayVolume]:
    counts = dict.fromkeys((item.day for item in counted), 0) | (_rows_by_day(sample) if counted else {})
    return [
        DayVolume(item.day, counts.get(item.day) if item.rows is None else item.rows, item.file.size)
        for item in found.items
    ]


def _bytes_per_row(found: Deliveries, item: Delivery) -> float | None:
    if item.rows is not None or item.file.name.endswith((".gz", ".bz2", ".xz", ".zst", ".zip")):
        return None
    with found.storage.open(item.file) as stream:
        head = stream.read(_HEAD_BYTES)
    return len(head) / head.count(b"\n") if b"\n" in head else None


def _rows_by_day(rows: pa.Table) -> dict[dt.date, int]:
    return {item["values"]: item["counts"] for item in rows["dt"].value_counts().to_pylist()}


def _first_byte(found: Deliveries, item: Delivery) -> float:
    start = time.perf_counter()
    with found.storage.open(item.file) as stream:
        stream.read(1)
    return time.perf_counter() - start


def _probe_table(source: Source, connections: Connections, days: DayRange) -> Probe:
    start = time.perf_counter()
    table = find_table(source, connections)
    look_up = time.perf_counter() - start
    start = time.perf_counter()
    table.database.fetch(sa.select(sa.literal(1)))
    first_row = time.perf_counter() - start
    counts = rows_by_day(table, days)
    sampled = sorted(counts)[-SAMPLE_DAYS:]
    narrowed = replace(table, source=found_columns(source, table.types))
    start = time.perf_counter()
    sample = _sample_of(narrowed, sampled)
    seconds = time.perf_counter() - start
    return Probe(
        connector=f"database ({table.database.kind})",
        format="table",
        location=table.label,
        authentication=table.database.authentication,
        columns={name: str(kind) for name, kind in table.types.items()},
        layouts=1,
        bytes_per_row=None,
        volumes=[DayVolume(day, counts.get(day, 0), None) for day in days],
        delivered=sorted(counts),
        sample=sample,
        sampled=sampled,
        is_everything=sample.num_rows == sum(counts.values()),
        newest=newest_watermark(table, days.last),
        speed=_speed(look_up, first_row, sample, seconds),
    )


def _sample_of(table: SourceTable, days: Sequence[dt.date]) -> pa.Table:
    if not days or not set(table.source.key) <= set(table.types):
        return bronze_schema(table.source).empty_table()
    return sample_table(table, DayRange(days[0], days[-1]), SAMPLE_ROWS)


def _speed(look_up: float, first_byte: float, sample: pa.Table, seconds: float) -> Speed:
    return Speed(
        look_up_seconds=round(look_up, 4),
        first_byte_seconds=round(first_byte, 5),
        rows_per_second=round(sample.num_rows / seconds, 1) if sample.num_rows else None,
        bytes_per_second=round(sample.nbytes / seconds, 1) if sample.num_rows else None,
    )
