"""From a day's rows to its landing files, with what can go wrong on the way."""

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
"""Source -> the format of its files."""

LATE_DAYS, REPEAT_DAYS = 3, 1

Held = dict[tuple[str, int], pa.Table]
"""Rows that are to be delivered on a later day, by source and the ordinal of that day."""

_MISSING = {"customers": "age", "transactions": "method", "sessions": "duration_s"}
_HELD_BACK = ("transactions", "sessions")
_DEAD = "support_tickets"


def deliver(
    tables: dict[str, pa.Table],
    day: dt.date,
    held: Held,
    injections: tuple[Injection, ...],
    rng: np.random.Generator,
) -> dict[str, pa.Table]:
    """Return the rows that arrive on ``day``, by source; a source without a file is left out.

    Args:
        tables: What happened on the day.
        day: The day.
        held: Rows to be delivered on later days; changed.
        injections: What goes wrong.
        rng: Random numbers for it.
    """
    delivered = {}
    for source, rows in tables.items():
        rows = _lose_values(source, rows, strength_of(injections, "missing_values", day), rng)
        if source in _HELD_BACK:
            rows = _hold_late(source, rows, day, held, strength_of(injections, "late_events", day), rng)
            rows = _repeat(source, rows, day, held, strength_of(injections, "duplicate_events", day), rng)
        due = held.pop((source, day.toordinal()), None)
        rows = pa.concat_tables([rows, due]) if due is not None else rows
        if not (source == _DEAD and strength_of(injections, "dead_source", day)):
            delivered[source] = _change_schema(rows, day, injections) if source == "sessions" else rows
    return delivered


def write_files(landing: Path, day: dt.date, tables: dict[str, pa.Table]) -> int:
    """Write one file for each source below ``landing``, each aside and then renamed; return their bytes."""
    written = 0
    for source, rows in tables.items():
        path = landing / source / f"{day}.{FORMATS[source]}"
        write_aside(path, lambda partial, rows=rows, source=source: _WRITERS[FORMATS[source]](rows, partial))  # type: ignore[misc]
        written += path.stat().st_size
    return written


def write_aside(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, and rename it: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write(partial)
    partial.replace(path)


def _lose_values(source: str, rows: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    if not share or source not in _MISSING:
        return rows
    name = _MISSING[source]
    lost = pa.array(rng.random(rows.num_rows) < share)
    at = rows.column_names.index(name)
    empty = pa.scalar(None, rows.schema.field(name).type)
    return rows.set_column(at, name, pc.if_else(lost, empty, rows[name]))


def _hold_late(
    source: str, rows: pa.Table, day: dt.date, held: Held, share: float, rng: np.random.Generator
) -> pa.Table:
    if not share:
        return rows
    late = pa.array(rng.random(rows.num_rows) < share)
    _hold(held, source, day.toordinal() + LATE_DAYS, rows.filter(late))
    return rows.filter(pc.invert(late))


def _repeat(source: str, rows: pa.Table, day: dt.date, held: Held, share: float, rng: np.random.Generator) -> pa.Table:
    if not share:
        return rows
    chance = rng.random(rows.num_rows)
    _hold(held, source, day.toordinal() + REPEAT_DAYS, rows.filter(pa.array(chance > 1 - share)))
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
