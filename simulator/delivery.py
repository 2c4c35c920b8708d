"""Turn the rows of a day into landing files, with injected delivery faults."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from simulator.injections import Injection, strength_of

FORMATS = {"customers": "csv", "transactions": "parquet", "sessions": "parquet", "support_tickets": "jsonl"}
"""The file format of each source."""

LATE_DAYS, DUPLICATE_DAYS = 3, 1

Held = dict[tuple[str, int], pa.Table]
"""Rows held back for a later day, by source and the ordinal of that day."""

_MAY_BE_EMPTY = {"customers": "age", "transactions": "method", "sessions": "duration_s"}
_MAY_BE_LATE = ("transactions", "sessions")
_MAY_STOP = "support_tickets"


def deliver(
    tables: dict[str, pa.Table],
    day: dt.date,
    held: Held,
    injections: tuple[Injection, ...],
    rng: np.random.Generator,
) -> dict[str, pa.Table]:
    """Apply the injected faults to the rows of a day.

    Args:
        tables: The rows of the day, by source.
        day: The day.
        held: Rows held back for later days; changed in place.
        injections: The injections.
        rng: The random numbers of the faults.

    Returns:
        The delivered rows by source; a source without a file is left out.
    """
    delivered = {}
    for source, rows in tables.items():
        rows = _lose_values(source, rows, strength_of(injections, "missing_values", day), rng)
        if source in _MAY_BE_LATE:
            rows = _hold_back_late(source, rows, day, held, strength_of(injections, "late_events", day), rng)
            rows = _duplicate(source, rows, day, held, strength_of(injections, "duplicate_events", day), rng)
        due = held.pop((source, day.toordinal()), None)
        rows = pa.concat_tables([rows, due]) if due is not None else rows
        if not (source == _MAY_STOP and strength_of(injections, "dead_source", day)):
            delivered[source] = _change_schema(rows, day, injections) if source == "sessions" else rows
    return delivered


def write_files(landing: Path, day: dt.date, tables: dict[str, pa.Table]) -> int:
    """Write one file for each source atomically.

    Args:
        landing: The landing folder.
        day: The day.
        tables: The delivered rows by source.

    Returns:
        The number of bytes written.
    """
    written = 0
    for source, rows in tables.items():
        path = landing / source / f"{day}.{FORMATS[source]}"
        write_renamed(path, lambda partial, rows=rows, source=source: _WRITERS[FORMATS[source]](rows, partial))  # type: ignore[misc]
        written += path.stat().st_size
    return written


def write_renamed(path: Path, write: Callable[[Path], None]) -> None:
    """Write a temporary file and rename it to ``path``, so that readers do not see partial files.

    Args:
        path: The file.
        write: Writes the content to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write(partial)
    partial.replace(path)


def _lose_values(source: str, rows: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    if not share or source not in _MAY_BE_EMPTY:
        return rows
    name = _MAY_BE_EMPTY[source]
    lost = pa.array(rng.random(rows.num_rows) < share)
    at = rows.column_names.index(name)
    empty = pa.scalar(None, rows.schema.field(name).type)
    return rows.set_column(at, name, pc.if_else(lost, empty, rows[name]))


def _hold_back_late(
    source: str, rows: pa.Table, day: dt.date, held: Held, share: float, rng: np.random.Generator
) -> pa.Table:
    if not share:
        return rows
    late = pa.array(rng.random(rows.num_rows) < share)
    _hold(held, source, day.toordinal() + LATE_DAYS, rows.filter(late))
    return rows.filter(pc.invert(late))


def _duplicate(
    source: str, rows: pa.Table, day: dt.date, held: Held, share: float, rng: np.random.Generator
) -> pa.Table:
    if not share:
        return rows
    chance = rng.random(rows.num_rows)
    _hold(held, source, day.toordinal() + DUPLICATE_DAYS, rows.filter(pa.array(chance > 1 - share)))
    return pa.concat_tables([rows, rows.filter(pa.array(chance < share))])


def _hold(held: Held, source: str, due: int, rows: pa.Table) -> None:
    earlier = held.get((source, due))
    held[source, due] = pa.concat_tables([earlier, rows]) if earlier is not None else rows


def _change_schema(sessions: pa.Table, day: dt.date, injections: tuple[Injection, ...]) -> pa.Table:
    if strength_of(injections, "column_retyped", day):
        text = pc.binary_join_element_wise(sessions["duration_s"].cast(pa.string()), "s", " ")
        sessions = sessions.set_column(sessions.column_names.index("duration_s"), "duration_s", text)
    if strength_of(injections, "column_renamed", day):
        sessions = sessions.rename_columns({"duration_s": "duration_seconds"})
    if strength_of(injections, "column_added", day):
        sessions = sessions.append_column("app_version", pa.array(["7.0"] * sessions.num_rows, pa.string()))
    return sessions


def _write_parquet(rows: pa.Table, path: Path) -> None:
    pq.write_table(rows, path)


def _write_csv(rows: pa.Table, path: Path) -> None:
    pacsv.write_csv(rows, path)


def _write_jsonl(rows: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows.to_pylist()), encoding="utf-8")


_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}
