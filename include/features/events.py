"""Silver rows as features see them: who, which day it happened, which day it was known, and what was looked up."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterable

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake, Table
from include.projects import Project

CUSTOMER, HAPPENED, KNOWN = "customer_id", "happened", "known"
"""The columns that every event has here; ``known`` is the day of the delivery."""


class SourceDataError(ChurnflowError):
    """Silver lacks what a feature needs."""


def events(project: Project, name: str, lake: Lake, engine: Backend, days: DayRange) -> ibis.Table:
    """Return the events of source ``name`` delivered in ``days``, with customer, days and looked-up columns.

    A reference value is the one last delivered by the day of the event's own delivery, so that a later delivery does
    not change the past.
    """
    source = project.sources[name]
    rows = _who_and_when(project, name, lake, engine, days)
    for look in source.lookups:
        reference = lake.table(f"silver/{look.source}")
        in_force = _deliveries_in_force(look.source, reference, days)
        rows = rows.left_join(_mapping(in_force), [(KNOWN, "as_of")]).drop("as_of")
        values = reference.scan(engine, sorted(set(in_force.values()))).select("dt", look.by, *look.columns)
        rows = rows.left_join(values, [("delivered", "dt"), look.by]).drop("delivered", "dt", f"{look.by}_right")
    return rows


def active_days(project: Project, name: str, lake: Lake, engine: Backend, days: DayRange) -> ibis.Table:
    """Return who had an event of source ``name`` on which day, and when that was known; nothing is looked up."""
    return _who_and_when(project, name, lake, engine, days).select(CUSTOMER, HAPPENED, KNOWN).distinct()


def _who_and_when(project: Project, name: str, lake: Lake, engine: Backend, days: DayRange) -> ibis.Table:
    source = project.sources[name]
    if source.customer is None or source.event_time is None:
        raise SourceDataError(
            f"Source {name!r} has no customer or event_time.", where="sources.yaml", remedy="Use a source of events."
        )
    rows = lake.table(f"silver/{name}").scan(engine, days)
    return rows.mutate(
        **{CUSTOMER: rows[source.customer], HAPPENED: rows[source.event_time].cast("date"), KNOWN: rows["dt"]}
    ).drop("dt")


def reference_as_of(name: str, lake: Lake, engine: Backend, days: Iterable[dt.date]) -> ibis.Table:
    """Return the rows of the reference source ``name`` that were in force on each of ``days``, as column ``as_of``.

    Raises:
        SourceDataError: Nothing was delivered by any of the days.
    """
    table = lake.table(f"silver/{name}")
    in_force = _deliveries_in_force(name, table, days)
    rows = table.scan(engine, sorted(set(in_force.values())))
    return rows.inner_join(_mapping(in_force), [("dt", "delivered")]).drop("dt", "delivered")


def _deliveries_in_force(name: str, table: Table, days: Iterable[dt.date]) -> dict[dt.date, dt.date]:
    delivered = table.days()
    in_force = {day: delivered[at - 1] for day in days if (at := bisect.bisect_right(delivered, day))}
    if not in_force:
        raise SourceDataError(
            f"Reference source {name!r} has no delivery by then.",
            where=table.uri,
            remedy="Ingest the day of its first delivery.",
        )
    return in_force


def _mapping(in_force: dict[dt.date, dt.date]) -> ibis.Table:
    return ibis.memtable(pa.table({"as_of": list(in_force), "delivered": list(in_force.values())}))
