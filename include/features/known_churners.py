"""Customers for whom the source of the label already states, as of a day, that they have churned or will churn."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis

from include.features.labels import customers_with_change
from include.features.point_in_time import CUSTOMER, CUSTOMER_ID, latest_row_per_customer, rows_as_of
from include.lake import Engine, Lake
from include.lake.table_names import silver_table
from include.projects import Project
from include.projects.label import ColumnLabel, NoEventLabel


def known_churners(project: Project, lake: Lake, engine: Engine, days: Sequence[dt.date]) -> ibis.Table | None:
    """Return the customers who are known to have churned at the end of each day.

    With a label ``column``, these are the customers whose row has the value in the column. With a label ``becomes``,
    the column must have the value in the current rows of all of the customer's keys, such as contracts; a row with a
    later effective time that was delivered by the day counts. A customer with a delivered change to the value within
    the horizon is known as well, even if other contracts remain or a later return was delivered, since the label is
    decided.

    The result uses only rows that had been delivered by the day, as features do. A customer who is not in the label's
    source is not known to have churned.

    Args:
        project: The project.
        lake: The lake.
        engine: The engine.
        days: The days.

    Returns:
        ``dt`` and ``customer_id``; None if no churner can be known. This is so if the label is ``no_event``, since an
        event may follow until the end of the horizon, or if nothing was delivered by the days.
    """
    label = project.label
    if isinstance(label, NoEventLabel):
        return None
    silver = lake.table(silver_table(label.source))
    if not silver.exists() or min(silver.days(), default=dt.date.max) > max(days):
        return None
    rows = rows_as_of(project, label.source, lake, engine, days, [label.column])
    if isinstance(label, ColumnLabel):
        rows = latest_row_per_customer(project, label.source, rows)
    has_churned = (rows[label.column].cast("string") == label.value).fill_null(False)
    customers = rows.group_by("dt", **{CUSTOMER_ID: rows[CUSTOMER]}).agg(_churned=has_churned.all())
    known = customers.filter(customers["_churned"]).select("dt", CUSTOMER_ID)
    if isinstance(label, ColumnLabel):
        return known
    return known.union(customers_with_change(project, label, lake, engine, days, days_ahead=0), distinct=True)
