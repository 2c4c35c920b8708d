"""Delivered parts into ``gold/predictions``: one row for each answer, one partition for each UTC day.

Every row names its part, so that the table itself says which parts it holds: collecting again changes nothing, and a
part that comes late is added to its day. Projects may deliver to one place: each takes its own parts alone.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa

from include.lake import Table, connect, open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.logs import get_logger
from include.serving.prediction_log.parts import PartStore, deliver_spool, part_store, spool_folder
from include.serving.prediction_log.reading import ROW_SCHEMA, OtherProjectError, Part, PartError
from include.settings import Settings

log = get_logger(__name__)


@dataclass
class Collected:
    """What one collection did.

    Attributes:
        days: The days that were written.
        parts: Parts that were added.
        rows: Their rows.
        cut_off: Parts among them that end in the middle of a batch, since their writer was killed.
        of_others: Parts of other projects, which stay where they are.
        put_aside: Files that are no parts, or damaged: where they lie now, and why.
        removed: Parts removed, since they are in the lake and old.
        seconds: Wall time.
    """

    days: list[str] = field(default_factory=list)
    parts: int = 0
    rows: int = 0
    cut_off: int = 0
    of_others: int = 0
    put_aside: list[dict[str, str]] = field(default_factory=list)
    removed: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def collect_predictions(settings: Settings) -> Collected:
    """Bring every part that the lake lacks into ``gold/predictions``, a commit for each day.

    Parts that servers on this machine have left in the spool are delivered first.

    Raises:
        OSError: The store of the parts does not answer.
        DiskFullError: There is no space left; the day is as it was.
    """
    start = time.perf_counter()
    store, table, result = part_store(settings), open_lake(settings).table(PREDICTIONS_TABLE), Collected()
    deliver_spool(spool_folder(settings), store)
    collected: dict[dt.date, list[str]] = {}
    for day, names in store.days().items():
        known = _collected_parts(table, day)
        known |= _collect_day(store, table, day, [name for name in names if name not in known], settings, result)
        if mine := [name for name in names if name in known]:
            collected[day] = mine
    for day, names in collected.items():
        if day < max(collected) - dt.timedelta(days=settings.serving.log.keep_days):
            result.removed += _remove(store, day, names)
    result.seconds = round(time.perf_counter() - start, 3)
    log.info("predictions collected", extra={**result.as_dict(), "put_aside": len(result.put_aside)})
    return result


def _collected_parts(table: Table, day: dt.date) -> set[str]:
    if not table.exists():
        return set()
    parts: pa.Table = table.scan(connect(), [day]).select("part").distinct().to_pyarrow()
    return set(parts["part"].to_pylist())


def _collect_day(
    store: PartStore, table: Table, day: dt.date, names: Sequence[str], settings: Settings, result: Collected
) -> set[str]:
    """Add parts to a day, and return the names of those that have rows there now and were not put aside."""
    parts = []
    for name in names:
        try:
            parts.append(Part.open(store, day, name, settings.project))
        except OtherProjectError:
            result.of_others += 1
        except FileNotFoundError:
            # Another project has collected and removed it meanwhile.
            continue
        except PartError as error:
            _put_aside(store, day, name, error.what, result)
    if parts:
        table.replace([day], _old_and_new(table, day, parts))
    for part in parts:
        result.cut_off += part.cut_off
        if part.problem or not part.rows:
            _put_aside(store, day, part.name, part.problem or "It holds no whole batch.", result)
    added = [part for part in parts if part.rows]
    if added:
        result.days.append(str(day))
        result.parts += len(added)
        result.rows += sum(part.rows for part in added)
    return {part.name for part in added if not part.problem}


def _old_and_new(table: Table, day: dt.date, parts: Sequence[Part]) -> pa.RecordBatchReader:
    """Return a stream of the rows that the lake has and those of the parts: a day need not fit into memory."""
    # Delta pulls the stream from a thread of its own, where its log cannot be read.
    is_new = not table.exists()
    present = [] if is_new else list(table.schema())
    old = () if is_new else table.stream([day])
    fields = {field.name: field for field in present or ROW_SCHEMA}
    for part in parts:
        fields |= {field.name: field for field in part.feature_fields if field.name not in fields}
    schema = pa.schema(list(fields.values()))
    batches = chain(old, *(part.batches() for part in parts))
    return pa.RecordBatchReader.from_batches(schema, (_widened(batch, schema) for batch in batches))


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    present = set(batch.schema.names)
    columns = [
        batch[field.name].cast(field.type) if field.name in present else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _put_aside(store: PartStore, day: dt.date, name: str, reason: str, result: Collected) -> None:
    where = store.put_aside(day, name)
    result.put_aside.append({"file": where, "reason": reason})
    log.error("part put aside", extra={"file": where, "reason": reason})


def _remove(store: PartStore, day: dt.date, names: Sequence[str]) -> int:
    for name in names:
        store.remove(day, name)
    return len(names)
