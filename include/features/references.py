"""Reference sources as of a day: the delivery in force of a ``snapshot``, the latest row by key of ``changes``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.features.events import KNOWN, WHO, as_of_table, deliveries_in_force, no_delivery, source_rows
from include.lake import Lake
from include.lake.table_names import silver_table
from include.projects import Project

CHANGED = "_changed"
"""When a row of ``changes`` changed; null in a snapshot."""


def rows_in_force(
    project: Project, name: str, lake: Lake, engine: Backend, days: Sequence[dt.date], columns: Iterable[str]
) -> ibis.Table:
    """Return the rows of reference source ``name`` in force on each of ``days``, as column ``dt``.

    Of ``changes``, that is the latest row of each key by event time, then by delivery, of those delivered by the day.

    Args:
        project: The project.
        name: A source of kind ``snapshot`` or ``changes`` with a customer.
        lake: The lake.
        engine: The engine.
        days: The days.
        columns: The columns wanted beside ``dt``, ``_customer``, ``_known`` and ``_changed``.

    Raises:
        SourceDataError: Nothing was delivered by any of the days.
    """
    source, wanted = project.sources[name], sorted(set(days))
    if source.kind == "snapshot":
        in_force = deliveries_in_force(name, lake.table(silver_table(name)), wanted)
        rows = source_rows(project, name, lake, engine, sorted(set(in_force.values())), {*columns, *source.key})
        rows = rows.inner_join(as_of_table(in_force), [(KNOWN, "_delivered")]).drop("_delivered")
        return rows.rename(dt="_as_of").mutate(**{CHANGED: ibis.null("timestamp")})
    rows = change_history(project, name, lake, engine, wanted[-1], columns)
    # A row is in force from its delivery until the first delivery of a row that is later than it.
    until = rows[KNOWN].min().over(rows=(1, None), group_by=source.key, order_by=in_order(rows))
    seen = rows.mutate(_until=until).cross_join(days_table("dt", wanted))
    return seen.filter(seen[KNOWN] <= seen["dt"], seen["_until"].isnull() | (seen["dt"] < seen["_until"])).drop(
        "_until"
    )


def one_per_customer(project: Project, name: str, rows: ibis.Table) -> ibis.Table:
    """Return, of the rows in force, the one that changed last of each customer and day; at a tie, the first key."""
    source = project.sources[name]
    if source.key == [source.customer]:
        return rows
    latest = [ibis.desc(rows[CHANGED], nulls_first=False), ibis.desc(rows[KNOWN])]
    order = [*latest, *(rows[column] for column in source.key)]
    numbered = rows.mutate(_place=ibis.row_number().over(group_by=["dt", WHO], order_by=order))
    return numbered.filter(numbered["_place"] == 0).drop("_place")


def change_history(
    project: Project, name: str, lake: Lake, engine: Backend, last: dt.date, columns: Iterable[str]
) -> ibis.Table:
    """Return all rows of the ``changes`` source delivered by ``last``, with its key, ``columns`` and ``_changed``.

    Raises:
        SourceDataError: There are none.
    """
    source, table = project.sources[name], lake.table(silver_table(name))
    days = [day for day in table.days() if day <= last]
    if not days or source.event_time is None:
        raise no_delivery(name, table)
    rows = source_rows(project, name, lake, engine, days, {*columns, *source.key, source.event_time})
    return rows.mutate(**{CHANGED: rows[source.event_time].cast("timestamp")})


def in_order(rows: ibis.Table) -> list[ibis.Value]:
    """Return the order in which the rows of a key follow each other: by event time, then by delivery."""
    return [ibis.asc(rows[CHANGED], nulls_first=True), ibis.asc(rows[KNOWN])]


def days_table(name: str, days: Sequence[dt.date]) -> ibis.Table:
    """Return a table whose only column, ``name``, holds the days."""
    return ibis.memtable(pa.table({name: pa.array(days, pa.date32())}))
