"""Collect delivered segments into ``gold/predictions``: one row per prediction, one partition per UTC day.

The column ``part`` contains the name of the segment of each row. A segment whose name is in the table is not collected
again, and a segment that arrives late is added to its day.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa

from include.lake import Table, connect, open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.logs import get_logger
from include.serving.prediction_log.segments import (
    SegmentError,
    SegmentStore,
    deliver_spool,
    parse_segment_name,
    segment_store,
    spool_folder,
)
from include.settings import Settings
from include.sources.erased_customers import read_erased

log = get_logger(__name__)

_READERS = 8
"""The number of segments read at the same time; an object store takes tens of milliseconds for each."""


@dataclass
class Collected:
    """The result of a collection.

    Attributes:
        days: The days that were written.
        segments: The number of segments that were added.
        rows: The number of their rows.
        erased_rows: The number of rows of erased customers, which were removed from new segments.
        other_projects: The number of segments of other projects, which stay untouched.
        damaged: The new address of each damaged file that was set aside, and the reason.
        removed: The number of segments that were removed because they are in the lake and old.
        seconds: Wall time.
    """

    days: list[str] = field(default_factory=list)
    segments: int = 0
    rows: int = 0
    erased_rows: int = 0
    other_projects: int = 0
    damaged: list[dict[str, str]] = field(default_factory=list)
    removed: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def collect_predictions(settings: Settings) -> Collected:
    """Add every new segment of the settings' project to ``gold/predictions``, one commit per day.

    Segments in the spool of this machine are delivered first. The rows of erased customers are removed from new
    segments. Segments that are in the lake and older than ``keep_days`` are removed.

    Raises:
        LakeError: Another release wrote the table.
        PrivacyKeyError: A key with which customers were erased is missing.
        OSError: The store of the segments does not answer.
        DiskFullError: There is no space left; the day is unchanged.
    """
    start = time.perf_counter()
    lake, store, result = open_lake(settings), segment_store(settings), Collected()
    table, erased = lake.table(PREDICTIONS_TABLE), read_erased(lake, settings.privacy)
    if table.exists():
        table.version()  # refuses the table of another release, also if there are no segments
    deliver_spool(spool_folder(settings), store, settings.project)
    collected: dict[dt.date, list[str]] = {}
    for day, names in store.segments().items():
        own = [name for name in names if (parts := parse_segment_name(name)) and parts.project == settings.project]
        result.other_projects += len(names) - len(own)
        known = _collected_names(table, day)
        new = [name for name in own if name not in known]
        if erased:
            result.erased_rows += sum(store.erase(name, erased.__contains__) for name in new)
        known |= _collect_day(store, table, day, new, result)
        if in_lake := [name for name in own if name in known]:
            collected[day] = in_lake
    for day, names in collected.items():
        if day < max(collected) - dt.timedelta(days=settings.serving.log.keep_days):
            for name in names:
                store.remove(name)
            result.removed += len(names)
    result.seconds = round(time.perf_counter() - start, 3)
    log.info("predictions collected", extra={**result.as_dict(), "damaged": len(result.damaged)})
    return result


def _collected_names(table: Table, day: dt.date) -> set[str]:
    if not table.exists():
        return set()
    names: pa.Table = table.scan(connect(), [day]).select("part").distinct().to_pyarrow()
    return set(names["part"].to_pylist())


def _collect_day(store: SegmentStore, table: Table, day: dt.date, names: Sequence[str], result: Collected) -> set[str]:
    """Add segments to a day, set damaged segments aside, and return the names of the added segments."""
    schemas: dict[str, pa.Schema] = {}
    for name, found in _read_all(store, names):
        if isinstance(found, SegmentError):
            address = store.set_aside(name)
            result.damaged.append({"file": address, "reason": found.what})
            log.error("damaged segment set aside", extra={"file": address, "reason": found.what})
        elif found is not None:
            schemas[name] = found.schema
            result.rows += found.num_rows
    if schemas:
        table.replace([day], _old_and_new(store, table, day, schemas))
        result.days.append(str(day))
        result.segments += len(schemas)
    return set(schemas)


def _read_all(store: SegmentStore, names: Sequence[str]) -> Iterator[tuple[str, pa.Table | SegmentError | None]]:
    """Yield each segment's name with its rows, the error if it is damaged, or None if it no longer exists."""

    def read(name: str) -> pa.Table | SegmentError | None:
        try:
            return store.read(name)
        except SegmentError as error:
            return error
        except FileNotFoundError:
            return None  # removed by another collection

    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(names), _READERS):
            some = names[first : first + _READERS]
            yield from zip(some, pool.map(read, some), strict=True)


def _old_and_new(
    store: SegmentStore, table: Table, day: dt.date, schemas: dict[str, pa.Schema]
) -> pa.RecordBatchReader:
    """Return the rows of the day and of its new segments as a stream, because a day may be larger than the memory.

    Each segment is read a second time, after all segments were checked.
    """
    # The table is opened here: the thread in which Delta Lake reads the stream cannot open it.
    old = table.stream([day]) if table.exists() else ()
    fields = {field.name: field for field in table.schema()} if table.exists() else {}
    for schema in schemas.values():
        fields |= {field.name: field for field in schema if field.name not in fields}
    merged = pa.schema(list(fields.values()))
    return pa.RecordBatchReader.from_batches(
        merged, (_widened(batch, merged) for batch in chain(old, _batches(store, list(schemas))))
    )


def _batches(store: SegmentStore, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for _, rows in _read_all(store, names):
        if isinstance(rows, SegmentError):
            raise rows
        if rows is not None:
            yield from rows.to_batches()


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    present = set(batch.schema.names)
    columns = [
        batch[field.name].cast(field.type) if field.name in present else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
