"""Who churned, by the three kinds of label."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.features.events import CUSTOMER, HAPPENED, KNOWN, WHO
from include.features.population import active_days
from include.features.references import change_history, days_table, in_order, one_per_customer, rows_in_force
from include.lake import Lake
from include.projects import Project
from include.projects.label import BecomesLabel, ColumnLabel, NoEventLabel


def label_rows(project: Project, lake: Lake, engine: Backend, rows: ibis.Table, days: Sequence[dt.date]) -> ibis.Table:
    """Return ``rows`` (``dt, customer_id``) with the label, 1 for churned and 0 for not.

    ``no_event``: no event of the customer in ``(dt, dt + horizon]``, delivered by then. ``becomes``: within that time
    the customer's column became the value, in a row delivered by then; to stay what it is, is not to become it.
    ``column``: the column of the row in force on ``dt`` is the value; a customer of whom it is not known gets no label.

    Args:
        project: The project.
        lake: Its lake.
        engine: The engine.
        rows: Gold rows of ``days``.
        days: Days whose horizon has been loaded.
    """
    label = project.label
    if isinstance(label, ColumnLabel):
        return _by_column(project, label, lake, engine, rows, days)
    if isinstance(label, BecomesLabel):
        found = _becoming(project, label, lake, engine, days)
        marked = rows.left_join(found, ["dt", CUSTOMER])
        return marked.select("dt", CUSTOMER, **{label.name: marked["_found"].notnull().cast("int8")})
    found = _active(project, label, lake, engine, rows, days)
    marked = rows.left_join(found, ["dt", CUSTOMER])
    return marked.select("dt", CUSTOMER, **{label.name: marked["_found"].isnull().cast("int8")})


def _active(
    project: Project, label: NoEventLabel, lake: Lake, engine: Backend, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    horizon = dt.timedelta(days=label.horizon_days)
    seen = DayRange(min(days) + dt.timedelta(days=1), max(days) + horizon)
    later = active_days(project, label.source, lake, engine, seen)
    limit = rows["dt"] + horizon
    stayed = rows.semi_join(
        later,
        [
            rows[CUSTOMER] == later[WHO],
            later[HAPPENED] > rows["dt"],
            later[HAPPENED] <= limit,
            later[KNOWN] <= limit,
        ],
    )
    return stayed.mutate(_found=1)


def _becoming(
    project: Project, label: BecomesLabel, lake: Lake, engine: Backend, days: Sequence[dt.date]
) -> ibis.Table:
    horizon = dt.timedelta(days=label.horizon_days)
    rows = change_history(project, label.source, lake, engine, max(days) + horizon, [label.column])
    value = rows[label.column].cast("string")
    rows = rows.mutate(_is=(value == label.value).fill_null(False))
    seen = rows.cross_join(days_table("dt", sorted(set(days))))
    seen = seen.filter(seen[KNOWN] <= seen["dt"] + horizon)
    # The row before a row depends on what was known by then, so it is looked for at each day anew.
    before = seen["_is"].lag().over(group_by=["dt", *project.sources[label.source].key], order_by=in_order(seen))
    seen = seen.mutate(_before=before.fill_null(False))
    found = seen.filter(
        seen["_is"],
        ~seen["_before"],
        seen[HAPPENED] > seen["dt"],
        seen[HAPPENED] <= seen["dt"] + horizon,
    )
    return found.select("dt", **{CUSTOMER: found[WHO]}).distinct().mutate(_found=1)


def _by_column(
    project: Project, label: ColumnLabel, lake: Lake, engine: Backend, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    found = rows_in_force(project, label.source, lake, engine, days, [label.column])
    found = one_per_customer(project, label.source, found)
    value = found[label.column].cast("string")
    known = found.filter(value.notnull()).select(
        "dt", **{CUSTOMER: found[WHO], label.name: (value == label.value).cast("int8")}
    )
    return rows.inner_join(known, ["dt", CUSTOMER]).select("dt", CUSTOMER, label.name)
