"""Erase a customer from the tables of the lake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ibis

from include.features.point_in_time import CUSTOMER_ID
from include.lake import Lake, Table, connect
from include.lake.erasure import delete_rows, forget_history
from include.lake.table_names import bronze_table, quarantine_table, silver_table
from include.projects import Project, Source
from include.sources.bronze_tables import UNDECLARED, UNREADABLE_START
from include.sources.customer_ids import CustomerRows, IsWanted


@dataclass(frozen=True)
class ErasedRows:
    """The rows of a customer in a table.

    Attributes:
        table: The name of the table.
        rows: The number of the rows.
        days: The number of days with such rows, whose files are written again.
        old_files: The number of data files of earlier versions that are deleted; None if they are only counted.
    """

    table: str
    rows: int
    days: int
    old_files: int | None = None


def tables_of_customers(project: Project, lake: Lake) -> Iterator[tuple[Table, Source | None]]:
    """Return the tables with a customer column in the order of the data flow, and the source of each, if it has one.

    The order matters: a run that reads a table while it is erased writes the next table before that one is erased, or
    repeats its write.

    Args:
        project: The project.
        lake: Its lake.
    """
    existing = set(lake.table_names())
    for name_of in (bronze_table, silver_table, quarantine_table):
        for name, source in project.sources.items():
            if source.customer and (table := name_of(name)) in existing:
                existing.remove(table)
                yield lake.table(table), source
    for name in sorted(existing, key=lambda table: (table.startswith("gold/"), table)):
        if CUSTOMER_ID in lake.table(name).schema().names and not name.startswith(("bronze/", "silver/")):
            yield lake.table(name), None


def unsearched_tables(project: Project, lake: Lake) -> list[str]:
    """Return the names of tables of sources that the project no longer declares."""
    known = {name_of(name) for name in project.sources for name_of in (bronze_table, silver_table, quarantine_table)}
    layers = ("bronze/", "silver/", "quarantine/")
    return [
        name
        for name in lake.table_names()
        if name.startswith(layers) and name not in known and "/_" not in name and name != "quarantine/features"
    ]


def erase_from_table(
    table: Table, source: Source | None, is_unwanted: IsWanted, running: dt.timedelta, *, dry_run: bool
) -> ErasedRows:
    """Erase the rows of a customer from a table and from its history, and return their number.

    Args:
        table: The table.
        source: The source of the table; None for a table with the ids of gold.
        is_unwanted: Whether the rows of a customer are erased.
        running: The longest time that a write takes.
        dry_run: Whether the rows are only counted.

    Raises:
        DiskFullError: The disk is full; the table is unchanged.
    """
    days = table.days()
    values = _values(table, days, source, is_unwanted) if days else {}
    found = _rows_by_day(table, days, values) if values else {}
    if dry_run:
        return ErasedRows(table.name, sum(found.values()), len(found))
    rows = delete_rows(table, sorted(found), values) if found else 0
    return ErasedRows(table.name, rows, len(found), forget_history(table, running))


def _values(
    table: Table, days: Sequence[dt.date], source: Source | None, is_unwanted: IsWanted
) -> dict[str, list[Any]]:
    """Return the values by which the rows are found, by column."""
    engine = connect()
    scan = table.scan(engine, days)
    if source is not None and UNDECLARED in scan.columns:
        unreadable = scan[UNDECLARED].startswith(UNREADABLE_START).ifelse(scan[UNDECLARED], ibis.null("string"))
        distinct = scan.select(source.customer or "", **{UNDECLARED: unreadable}).distinct()
        return dict(CustomerRows(source, is_unwanted).values(engine.to_pyarrow(distinct)))
    column = CUSTOMER_ID if source is None or source.customer is None else source.customer
    ids = scan.select(value=scan[column], id=scan[column].cast("string").strip()).distinct()
    found = [row["value"] for row in engine.to_pyarrow(ids).to_pylist() if row["id"] and is_unwanted(row["id"])]
    return {column: found} if found else {}


def _rows_by_day(table: Table, days: Sequence[dt.date], values: dict[str, list[Any]]) -> dict[dt.date, int]:
    engine = connect()
    scan = table.scan(engine, days)
    matches = ibis.or_(*(scan[column].isin(found) for column, found in values.items()))
    counts = scan.filter(matches).group_by("dt").agg(rows=ibis._.count())
    return {row["dt"]: row["rows"] for row in engine.to_pyarrow(counts).to_pylist()}
