"""Point-in-time reads of silver: events with as-of lookups, and reference sources as of a day.

A read for a day uses only rows that had been delivered by that day. Columns that this module adds start with an
underscore; no column of a source does.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterable, Sequence

import ibis
import pyarrow as pa
from ibis.expr.types import StringValue, Value

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.sql_expressions import finite, needed_columns, with_derived_columns
from include.lake import Engine, Lake, Table
from include.lake.table_names import silver_table
from include.projects import Project, Source
from include.sources.column_types import day_of

CUSTOMER_ID = "customer_id"
"""The column that names the customer in every gold table; always text."""
CUSTOMER, EVENT_DAY, DELIVERY_DAY = "_customer", "_event_day", "_delivery_day"
"""Columns of every row read here: the customer, the day of the event in the project's time zone, and the day for which
the row was delivered."""
CHANGED = "_changed"
"""When a row of a ``changes`` source changed; null for a ``snapshot`` source."""

Days = DayRange | Sequence[dt.date]


class SourceDataError(ChurnflowError):
    """Silver lacks data that a feature needs."""


def source_rows(
    project: Project, name: str, lake: Lake, engine: Engine, days: Days, columns: Iterable[str] = ()
) -> ibis.Table:
    """Return the rows of a source delivered in ``days``, with its lookups joined and its derived columns computed.

    A lookup is an as-of join: each row gets the latest value delivered by the row's own delivery day, so that a later
    delivery does not change earlier rows. Rows without a customer are left out.

    Args:
        project: The project.
        name: The source; it must declare a customer column.
        lake: The lake.
        engine: The engine.
        days: The days of the deliveries.
        columns: The columns to return beside ``_customer``, ``_event_day`` (null for a snapshot) and
            ``_delivery_day``; they may be looked up or derived.

    Raises:
        SourceDataError: A lookup has no delivery, or its key is not unique.
    """
    source = project.sources[name]
    derived = project.derived_columns.get(name, [])
    needed = needed_columns(derived, columns)
    scan = lake.table(silver_table(name)).scan(engine, days)
    join_columns = {lookup.by for lookup in source.lookups if needed & set(lookup.columns)}
    own = {column: finite(scan[column]) for column in source.columns if column in needed | join_columns}
    rows = scan.select(
        **own,
        **{
            CUSTOMER: _customer(scan, name, source),
            EVENT_DAY: _event_day(scan, source, project.timezone),
            DELIVERY_DAY: scan["dt"],
        },
    )
    rows = rows.filter(rows[CUSTOMER].notnull())
    for lookup in source.lookups:
        taken = [column for column in lookup.columns if column in needed]
        if taken:
            rows = _join_lookup(project, rows, lake, engine, days, lookup.source, lookup.by, taken)
    return with_derived_columns(rows, engine, [column for column in derived if column.name in needed])


def active_days(project: Project, name: str, lake: Lake, engine: Engine, days: DayRange) -> ibis.Table:
    """Return the days on which each customer had an event, with the first delivery day of each.

    Args:
        project: The project.
        name: An event source.
        lake: The lake.
        engine: The engine.
        days: The days of the deliveries.
    """
    rows = source_rows(project, name, lake, engine, days)
    return rows.group_by(CUSTOMER, EVENT_DAY).agg(**{DELIVERY_DAY: rows[DELIVERY_DAY].min()})


def rows_as_of(
    project: Project, name: str, lake: Lake, engine: Engine, days: Sequence[dt.date], columns: Iterable[str]
) -> ibis.Table:
    """Return the rows of a reference source that are valid on each of ``days``, with the day as column ``dt``.

    Of a ``snapshot`` source, these are the rows of the latest delivery. Of a ``changes`` source, these are the
    latest rows of each key, by event time, then by delivery, among the rows delivered by the day.

    Args:
        project: The project.
        name: A source of kind ``snapshot`` or ``changes`` with a customer column.
        lake: The lake.
        engine: The engine.
        days: The days.
        columns: The columns to return beside ``dt``, ``_customer``, ``_delivery_day`` and ``_changed``.

    Raises:
        SourceDataError: Nothing was delivered by any of the days.
    """
    source, wanted = project.sources[name], sorted(set(days))
    if source.kind == "snapshot":
        latest = _latest_deliveries(name, lake.table(silver_table(name)), wanted)
        rows = source_rows(project, name, lake, engine, sorted(set(latest.values())), {*columns, *source.key})
        rows = rows.inner_join(_as_of_table(latest), [(DELIVERY_DAY, "_delivered")]).drop("_delivered")
        return rows.rename(dt="_as_of").mutate(**{CHANGED: ibis.null("timestamp")})
    rows = change_history(project, name, lake, engine, wanted[-1], columns)
    # A row is valid from its delivery until the first delivery of a row that follows it.
    until = rows[DELIVERY_DAY].min().over(rows=(1, None), group_by=source.key, order_by=change_order(rows))
    joined = rows.mutate(_until=until).cross_join(days_table("dt", wanted))
    is_current = joined["_until"].isnull() | (joined["dt"] < joined["_until"])
    return joined.filter(joined[DELIVERY_DAY] <= joined["dt"], is_current).drop("_until")


def latest_row_per_customer(project: Project, name: str, rows: ibis.Table) -> ibis.Table:
    """Keep one row per customer and day: the row that changed last; on a tie, the row with the first key.

    Args:
        project: The project.
        name: The reference source.
        rows: Its rows as returned by ``rows_as_of``.
    """
    source = project.sources[name]
    if source.key == [source.customer]:
        return rows
    latest = [ibis.desc(rows[CHANGED], nulls_first=False), ibis.desc(rows[DELIVERY_DAY])]
    order = [*latest, *(rows[column] for column in source.key)]
    ranked = rows.mutate(_rank=ibis.row_number().over(group_by=["dt", CUSTOMER], order_by=order))
    return ranked.filter(ranked["_rank"] == 0).drop("_rank")


def change_history(
    project: Project, name: str, lake: Lake, engine: Engine, last: dt.date, columns: Iterable[str]
) -> ibis.Table:
    """Return all rows of a ``changes`` source delivered by ``last``, with its key, ``columns`` and ``_changed``.

    Args:
        project: The project.
        name: The source.
        lake: The lake.
        engine: The engine.
        last: The last delivery day.
        columns: The columns to return beside the key.

    Raises:
        SourceDataError: Nothing was delivered by ``last``.
    """
    source, table = project.sources[name], lake.table(silver_table(name))
    days = [day for day in table.days() if day <= last]
    if not days or source.event_time is None:
        raise _no_delivery(name, table)
    rows = source_rows(project, name, lake, engine, days, {*columns, *source.key, source.event_time})
    return rows.mutate(**{CHANGED: rows[source.event_time].cast("timestamp")})


def change_order(rows: ibis.Table) -> list[ibis.Value]:
    """Return the sort order of the rows of one key: by event time, then by delivery."""
    return [ibis.asc(rows[CHANGED], nulls_first=True), ibis.asc(rows[DELIVERY_DAY])]


def days_table(name: str, days: Sequence[dt.date]) -> ibis.Table:
    """Return a table with one column of days.

    Args:
        name: The name of the column.
        days: Its values.
    """
    return ibis.memtable(pa.table({name: pa.array(days, pa.date32())}))


def _latest_deliveries(name: str, table: Table, days: Iterable[dt.date]) -> dict[dt.date, dt.date]:
    # Each day -> the day of the last delivery up to this day; days before the first delivery are left out.
    delivered = table.days()
    latest = {day: delivered[at - 1] for day in days if (at := bisect.bisect_right(delivered, day))}
    if not latest:
        raise _no_delivery(name, table)
    return latest


def _no_delivery(name: str, table: Table) -> SourceDataError:
    return SourceDataError(
        f"Reference source {name!r} has no delivery up to the requested day.",
        where=table.uri,
        remedy="Ingest the day of its first delivery.",
    )


def _as_of_table(latest: dict[dt.date, dt.date]) -> ibis.Table:
    days = {"_as_of": list(latest), "_delivered": list(latest.values())}
    return ibis.memtable(pa.table({name: pa.array(values, pa.date32()) for name, values in days.items()}))


def _customer(scan: ibis.Table, name: str, source: Source) -> StringValue:
    if source.customer is None:
        raise SourceDataError(
            f"Source {name!r} declares no customer column.", where="sources.yaml", remedy="Add the key 'customer'."
        )
    return scan[source.customer].cast("string")


def _event_day(scan: ibis.Table, source: Source, zone: str) -> Value:
    return day_of(scan[source.event_time], zone) if source.event_time else ibis.null("date")


def _join_lookup(
    project: Project, rows: ibis.Table, lake: Lake, engine: Engine, days: Days, name: str, by: str, columns: list[str]
) -> ibis.Table:
    if project.sources[name].key != [by]:
        raise SourceDataError(
            f"The lookup in {name!r} by {by!r} may match several rows, since its key is {project.sources[name].key}.",
            where="sources.yaml, lookups",
            remedy="Look up by the key of the reference source.",
        )
    table = lake.table(silver_table(name))
    latest = _latest_deliveries(name, table, days)
    scan = table.scan(engine, sorted(set(latest.values())))
    values = scan.select(_found=scan["dt"], _by=scan[by], **{column: finite(scan[column]) for column in columns})
    rows = rows.left_join(_as_of_table(latest), [(DELIVERY_DAY, "_as_of")]).drop("_as_of")
    return rows.left_join(values, [("_delivered", "_found"), (by, "_by")]).drop("_delivered", "_found", "_by")
