"""Silver rows as features see them: who, which day it happened, which day it was known, what was looked up or derived.

The columns made here start with an underscore, so that no column of a source has such a name.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterable, Sequence

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.expr.types import StringValue, Value

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.row_expressions import finite, needed_columns, with_derived
from include.lake import Lake, Table
from include.lake.table_names import silver_table
from include.projects import Project, Source

CUSTOMER = "customer_id"
"""The column that names the customer in every table of gold, always text."""
WHO, HAPPENED, KNOWN = "_customer", "_happened", "_known"
"""The columns that every row has here: the customer, the day of the event, and the day that it was delivered for."""

Days = DayRange | Sequence[dt.date]


class SourceDataError(ChurnflowError):
    """Silver lacks what a feature needs."""


def source_rows(
    project: Project, name: str, lake: Lake, engine: Backend, days: Days, columns: Iterable[str] = ()
) -> ibis.Table:
    """Return the rows of source ``name`` delivered in ``days``, with ``columns``, looked up and derived ones too.

    A looked-up value is the one last delivered by the day of the row's own delivery, so that a later delivery does not
    change the past. Rows without a customer are left out.

    Args:
        project: The project.
        name: A source with a customer.
        lake: The lake.
        engine: The engine.
        days: The days of the deliveries.
        columns: The columns wanted beside ``_customer``, ``_happened`` (null in a snapshot) and ``_known``.

    Raises:
        SourceDataError: A lookup finds no delivery, or several rows for a key.
    """
    source = project.sources[name]
    derived = project.derived_columns.get(name, [])
    needed = needed_columns(derived, columns)
    scan = lake.table(silver_table(name)).scan(engine, days)
    links = {look.by for look in source.lookups if needed & set(look.columns)}
    own = {column: finite(scan[column]) for column in source.columns if column in needed | links}
    who, happened = _customer(scan, name, source), _happened(scan, source)
    rows = scan.select(**own, **{WHO: who, HAPPENED: happened, KNOWN: scan["dt"]})
    rows = rows.filter(rows[WHO].notnull())
    for look in source.lookups:
        taken = [column for column in look.columns if column in needed]
        if taken:
            rows = _look_up(project, rows, lake, engine, days, look.source, look.by, taken)
    return with_derived(rows, engine, [column for column in derived if column.name in needed])


def deliveries_in_force(name: str, table: Table, days: Iterable[dt.date]) -> dict[dt.date, dt.date]:
    """Return for each of ``days`` the day of the last delivery by then, where there is one.

    Raises:
        SourceDataError: Nothing was delivered by any of the days.
    """
    delivered = table.days()
    in_force = {day: delivered[at - 1] for day in days if (at := bisect.bisect_right(delivered, day))}
    if not in_force:
        raise no_delivery(name, table)
    return in_force


def no_delivery(name: str, table: Table) -> SourceDataError:
    """Return the error that nothing of source ``name`` was delivered by the day asked for."""
    return SourceDataError(
        f"Reference source {name!r} has no delivery by then.",
        where=table.uri,
        remedy="Ingest the day of its first delivery.",
    )


def as_of_table(in_force: dict[dt.date, dt.date]) -> ibis.Table:
    """Return ``_as_of, _delivered``: the delivery in force on each day."""
    days = {"_as_of": list(in_force), "_delivered": list(in_force.values())}
    return ibis.memtable(pa.table({name: pa.array(values, pa.date32()) for name, values in days.items()}))


def _customer(scan: ibis.Table, name: str, source: Source) -> StringValue:
    if source.customer is None:
        raise SourceDataError(
            f"Source {name!r} names no customer.", where="sources.yaml", remedy="Give it the key 'customer'."
        )
    return scan[source.customer].cast("string")


def _happened(scan: ibis.Table, source: Source) -> Value:
    return scan[source.event_time].cast("date") if source.event_time else ibis.null("date")


def _look_up(
    project: Project, rows: ibis.Table, lake: Lake, engine: Backend, days: Days, name: str, by: str, columns: list[str]
) -> ibis.Table:
    if project.sources[name].key != [by]:
        raise SourceDataError(
            f"The lookup in {name!r} by {by!r} may find several rows, since its key is {project.sources[name].key}.",
            where="sources.yaml, lookups",
            remedy="Look up by the key of the reference source.",
        )
    table = lake.table(silver_table(name))
    in_force = deliveries_in_force(name, table, days)
    scan = table.scan(engine, sorted(set(in_force.values())))
    values = scan.select(_found=scan["dt"], _by=scan[by], **{column: finite(scan[column]) for column in columns})
    rows = rows.left_join(as_of_table(in_force), [(KNOWN, "_as_of")]).drop("_as_of")
    return rows.left_join(values, [("_delivered", "_found"), (by, "_by")]).drop("_delivered", "_found", "_by")
