"""Probe a source without loading it: its deliveries, its columns, a sample, and the speed of reading."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate

import pyarrow as pa
import sqlalchemy as sa

from include.days import DayRange
from include.lake.day_parts import count_by_day, split_by_day
from include.projects import Source
from include.sources.audit.results import Speed
from include.sources.bronze_tables import bronze_schema
from include.sources.column_types import TEXT, FoundType, sql_type
from include.sources.connections import Connections
from include.sources.delivered_files import (
    Deliveries,
    Delivery,
    files_of,
    find_deliveries,
    open_delivery,
    require_columns,
)
from include.sources.errors import ColumnError
from include.sources.landing_lineage import record_table_read
from include.sources.read_files import sample_files
from include.sources.read_table import (
    SourceTable,
    find_table,
    newest_watermark,
    rows_by_day,
    rows_outside_time,
    sample_table,
)

SAMPLE_BYTES = 8_000_000
"""Maximum total size of the sampled files; the newest audited files are sampled first."""

SAMPLE_DAYS = 7
"""Number of sampled days of a database: the newest days with rows."""

SAMPLE_ROWS = 50_000
"""Maximum number of sampled rows."""

_HEAD_BYTES = 1_000_000


@dataclass(frozen=True)
class DayVolume:
    """The rows and bytes of one delivery; None if unknown."""

    day: dt.date
    rows: int | None
    bytes: int | None


@dataclass(frozen=True)
class Probe:
    """The raw observations of one source.

    Attributes:
        connector: The kind of storage or database.
        format: Its format.
        location: Its address.
        authentication: The kind of authentication.
        columns: The columns of the newest delivery and their types, in their order, then undeclared columns of other
            deliveries.
        schemas: The columns of each delivery and their types, by day, oldest first; for JSON lines and database
            tables, only of the sampled deliveries.
        layouts: Number of different column orders among the deliveries.
        volumes: The volume of each audited delivery.
        bytes_per_row: Bytes per line of the newest file, if rows cannot be counted without reading the whole file.
        delivered: The days up to the last day with a known delivery.
        sample: Bronze rows with the declared columns that were found.
        sampled: The days of the sample.
        is_everything: Whether the sample contains all rows of the audited days.
        newest: The newest watermark of a database table.
        rows_outside_time: Number of rows of a database table that belong to no day.
        speed: The measured latency and throughput.
        deliveries: The files of the audited days, or the table.
    """

    connector: str
    format: str
    location: str
    authentication: str
    columns: Mapping[str, FoundType]
    schemas: Mapping[dt.date, Mapping[str, FoundType]]
    layouts: int
    volumes: Sequence[DayVolume]
    bytes_per_row: float | None
    delivered: Sequence[dt.date]
    sample: pa.Table
    sampled: Sequence[dt.date]
    is_everything: bool
    newest: dt.datetime | None
    rows_outside_time: int
    speed: Speed
    deliveries: Deliveries | SourceTable


def probe(name: str, source: Source, connections: Connections, days: DayRange, timezone: str) -> Probe:
    """Observe the deliveries of ``days``.

    Args:
        name: The name of the source.
        source: Its configuration.
        connections: The addresses.
        days: The audited days.
        timezone: The time zone of business days.

    Raises:
        ChurnflowError: The source cannot be reached, or a delivery is missing or cannot be read.
    """
    return (
        _probe_table(source, connections, days, timezone)
        if source.database
        else _probe_files(name, source, connections, days)
    )


def found_columns(source: Source, columns: Mapping[str, object]) -> Source:
    """Return a copy of the source that declares only the columns that were found.

    Args:
        source: The configuration of the source.
        columns: The found columns, by their names in the delivery.
    """
    found = {name: column for name, column in source.columns.items() if source.delivered_name(name) in columns}
    return source.model_copy(update={"columns": found})


def _probe_files(name: str, source: Source, connections: Connections, days: DayRange) -> Probe:
    start = time.perf_counter()
    found = find_deliveries(name, source, connections, days)
    known = sorted(day for day in found.present if day <= days.last)
    # A snapshot source without a delivery in these days is represented by its latest delivery.
    items = found.items or (open_delivery(name, source, found.storage, known[-1], found.present[known[-1]]),)
    look_up = time.perf_counter() - start
    # A column that the newest delivery lacks is reported as a change; the other deliveries must have all columns.
    require_columns(source, replace(found, items=items[:-1]))
    with suppress(ColumnError):
        require_columns(source, replace(found, items=items[-1:]))
    columns = _all_columns(source, items)
    chosen = replace(found, items=_newest(items))
    start = time.perf_counter()
    sample = sample_files(_readable(source, columns), chosen, SAMPLE_ROWS)
    seconds = time.perf_counter() - start
    schemas: dict[dt.date, Mapping[str, FoundType]] = {item.day: item.columns for item in items}
    if files_of(source).format == "jsonl":
        columns |= _found_keys(source, sample)
        parts = split_by_day(sample)
        schemas = {
            item.day: {**item.columns, **_found_keys(source, parts.get(item.day, sample.slice(0, 0)))}
            for item in chosen.items
        }
    is_whole = sample.num_rows < SAMPLE_ROWS
    return Probe(
        connector=found.storage.connector,
        format=files_of(source).format,
        location=found.storage.address,
        authentication=found.storage.authentication,
        columns=columns,
        schemas=schemas,
        layouts=len({tuple(item.columns) for item in items}) if files_of(source).format != "jsonl" else 1,
        volumes=_file_volumes(found, sample, chosen.items if is_whole else ()),
        bytes_per_row=_bytes_per_row(source, found, items[-1]),
        delivered=known,
        sample=sample,
        sampled=[item.day for item in chosen.items] if is_whole else sorted(count_by_day(sample)),
        is_everything=is_whole and len(chosen.items) == len(items),
        newest=None,
        rows_outside_time=0,
        speed=_speed(look_up, _first_byte(found, items[-1]), sample, seconds),
        deliveries=found,
    )


def _all_columns(source: Source, items: Sequence[Delivery]) -> dict[str, FoundType]:
    columns = dict(items[-1].columns)
    # A line of JSON may omit a key without a value, so a single file need not contain every key.
    keys_are_optional = files_of(source).format == "jsonl"
    declared = set(map(source.delivered_name, source.columns))
    for item in items:
        for name, kind in item.columns.items():
            if keys_are_optional or name not in declared:
                columns.setdefault(name, kind)
    return columns


def _found_keys(source: Source, rows: pa.Table) -> dict[str, FoundType]:
    found = [name for name in source.columns if rows[name].null_count < rows.num_rows]
    return dict.fromkeys(map(source.delivered_name, found), TEXT)


def _newest(items: Sequence[Delivery]) -> tuple[Delivery, ...]:
    sizes = accumulate(item.file.size for item in reversed(items))
    number = sum(size <= SAMPLE_BYTES for size in sizes)
    return tuple(items[-max(number, 1) :])


def _readable(source: Source, columns: Mapping[str, FoundType]) -> Source:
    return source if files_of(source).format == "jsonl" else found_columns(source, columns)


def _file_volumes(found: Deliveries, sample: pa.Table, counted: Sequence[Delivery]) -> list[DayVolume]:
    counts = dict.fromkeys((item.day for item in counted), 0) | (count_by_day(sample) if counted else {})
    return [
        DayVolume(item.day, counts.get(item.day) if item.rows is None else item.rows, item.file.size)
        for item in found.items
    ]


def _bytes_per_row(source: Source, found: Deliveries, item: Delivery) -> float | None:
    compression = files_of(source).compression
    by_name = compression == "infer" and item.file.name.endswith((".gz", ".bz2", ".xz", ".zst", ".zip"))
    if item.rows is not None or by_name or compression not in ("infer", "none"):
        return None
    with found.storage.open(item.file) as stream:
        head = stream.read(_HEAD_BYTES)
    return len(head) / head.count(b"\n") if b"\n" in head else None


def _first_byte(found: Deliveries, item: Delivery) -> float:
    start = time.perf_counter()
    with found.storage.open(item.file) as stream:
        stream.read(1)
    return time.perf_counter() - start


def _probe_table(source: Source, connections: Connections, days: DayRange, timezone: str) -> Probe:
    start = time.perf_counter()
    table = find_table(source, connections, timezone)
    record_table_read(table, days)
    look_up = time.perf_counter() - start
    start = time.perf_counter()
    table.database.fetch(sa.select(sa.literal(1)))
    first_row = time.perf_counter() - start
    counts, types = rows_by_day(table, days), {name: sql_type(kind) for name, kind in table.types.items()}
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
        columns=types,
        schemas=dict.fromkeys(sampled or [days.last], types),
        layouts=1,
        bytes_per_row=None,
        volumes=[DayVolume(day, counts.get(day, 0), None) for day in (days if source.is_daily else [days.last])],
        delivered=sorted(counts) if source.is_daily else [days.last],
        sample=sample,
        sampled=sampled,
        is_everything=sample.num_rows == sum(counts.values()),
        newest=newest_watermark(table, days.last),
        rows_outside_time=rows_outside_time(table),
        speed=_speed(look_up, first_row, sample, seconds),
        deliveries=table,
    )


def _sample_of(table: SourceTable, days: Sequence[dt.date]) -> pa.Table:
    if not days or not set(table.source.key) <= set(table.source.columns):
        return bronze_schema(table.source).empty_table()
    return sample_table(table, DayRange(days[0], days[-1]), SAMPLE_ROWS)


def _speed(look_up: float, first_byte: float, sample: pa.Table, seconds: float) -> Speed:
    return Speed(
        look_up_seconds=round(look_up, 4),
        first_byte_seconds=round(first_byte, 5),
        rows_per_second=round(sample.num_rows / seconds, 1) if sample.num_rows else None,
        bytes_per_second=round(sample.nbytes / seconds, 1) if sample.num_rows else None,
    )
