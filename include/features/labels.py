"""Labels: compute which customers churned.

A day is labelled when the horizon after it has passed and been loaded. Each ingest of a day up to ``lateness_days``
after the horizon computes the labels again, so that events and changes that are delivered late count.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence

import ibis
import pyarrow as pa

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.definitions import mark_labelled
from include.features.lookback import rebuilt_days_after, silver_days
from include.features.point_in_time import (
    CUSTOMER,
    CUSTOMER_ID,
    DELIVERY_DAY,
    EVENT_DAY,
    active_days,
    change_history,
    change_order,
    days_table,
    latest_row_per_customer,
    rows_as_of,
)
from include.lake import Engine, Lake, StepResult, with_optimistic_retry
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SILVER_DAYS_TABLE, silver_table
from include.logs import get_logger
from include.plurals import counted
from include.projects import Project
from include.projects.label import BecomesLabel, ColumnLabel, NoEventLabel
from include.quality.silver_days import loaded_days

log = get_logger(__name__)


class LabelError(ChurnflowError):
    """The label does not say which values of its column mean that a customer has churned or has not churned."""


def build_labels(project: Project, lake: Lake, days: DayRange) -> StepResult:
    """Label the gold rows with a complete horizon that an ingest of ``days`` affects.

    An ingest affects the gold days with a horizon, extended by the project's lateness, that overlaps ``days``, and the
    later gold days that were rebuilt. If an affected day has no gold row any more, its labels are removed.

    Args:
        project: The project.
        lake: The lake; gold must hold ``days``.
        days: The days that were ingested.

    Raises:
        LabelError: The label does not name other values, and a delivery has several of them or lacks the label's value.
        LakeError: Other runs replaced the inputs during every attempt.
    """
    start = time.perf_counter()
    ahead = dt.timedelta(days=_days_ahead(project))
    affected = DayRange(days.first - ahead, days.last + dt.timedelta(days=_rebuilt_days_after(project)))
    silver = silver_days(project, DayRange(affected.first, affected.last + ahead))
    inputs = {FEATURES_TABLE: affected, SILVER_DAYS_TABLE: silver, silver_table(project.label.source): silver}
    written = with_optimistic_retry(lake, inputs, lambda: _write(project, lake, affected))
    labels = lake.table(LABELS_TABLE)
    version = labels.version() if labels.exists() else -1
    result = StepResult(LABELS_TABLE, written, 0, written, version, round(time.perf_counter() - start, 3))
    log.info("labels built", extra=result.as_dict())
    return result


def matured_days(project: Project, lake: Lake, days: DayRange) -> list[dt.date]:
    """Return the gold days with a horizon that silver contains completely, sorted.

    Args:
        project: The project.
        lake: The lake.
        days: The range of gold days to look at.
    """
    horizon = project.label.horizon_days
    loaded = loaded_days(lake, project.label.source, DayRange(days.first, days.last + dt.timedelta(days=horizon)))
    gold = [day for day in lake.table(FEATURES_TABLE).days() if day in days]
    return [day for day in gold if all(day + dt.timedelta(days=ahead) in loaded for ahead in range(1, horizon + 1))]


def compute_labels(
    project: Project, lake: Lake, engine: Engine, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    """Label gold rows: 1 if the customer churned, 0 otherwise.

    Rows delivered up to ``lateness_days`` after the end of the horizon count. ``no_event``: the customer churned if
    there is no event in ``(dt, dt + horizon]``. ``becomes``: the customer churned if the column changed to the value
    within the horizon; a column that already had the value does not count. ``column``: the customer churned if the
    column has the value in the row valid on ``dt``, and did not churn if it has one of the other values, which the
    label names if there are several; other customers get no label.

    Args:
        project: The project.
        lake: The lake.
        engine: The engine.
        rows: ``dt`` and ``customer_id`` of the gold rows of ``days``.
        days: Snapshot days with a horizon that has been loaded.

    Returns:
        ``dt``, ``customer_id`` and the label.

    Raises:
        LabelError: The label does not name other values, and a delivery has several of them or lacks the label's value.
    """
    label = project.label
    if isinstance(label, ColumnLabel):
        return _column_label(project, label, lake, engine, rows, days)
    if isinstance(label, BecomesLabel):
        found = customers_with_change(project, label, lake, engine, days, _days_ahead(project))
        marked = rows.left_join(found.mutate(_found=1), ["dt", CUSTOMER_ID])
        return marked.select("dt", CUSTOMER_ID, **{label.name: marked["_found"].notnull().cast("int8")})
    found = _customers_with_event(project, label, lake, engine, rows, days)
    marked = rows.left_join(found, ["dt", CUSTOMER_ID])
    return marked.select("dt", CUSTOMER_ID, **{label.name: marked["_found"].isnull().cast("int8")})


def _customers_with_event(
    project: Project, label: NoEventLabel, lake: Lake, engine: Engine, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    horizon = dt.timedelta(days=label.horizon_days)
    known_after = dt.timedelta(days=_days_ahead(project))
    deliveries = DayRange(min(days) + dt.timedelta(days=1), max(days) + known_after)
    events = active_days(project, label.source, lake, engine, deliveries)
    end = rows["dt"] + horizon
    within = [
        rows[CUSTOMER_ID] == events[CUSTOMER],
        events[EVENT_DAY] > rows["dt"],
        events[EVENT_DAY] <= end,
        events[DELIVERY_DAY] <= rows["dt"] + known_after,
    ]
    return rows.semi_join(events, within).mutate(_found=1)


def customers_with_change(
    project: Project, label: BecomesLabel, lake: Lake, engine: Engine, days: Sequence[dt.date], days_ahead: int
) -> ibis.Table:
    """Return the customers with a change to the label's value within the horizon: ``dt`` and ``customer_id``.

    Args:
        project: The project.
        label: Its label.
        lake: The lake.
        engine: The engine.
        days: The snapshot days.
        days_ahead: Rows that are delivered up to this number of days after each day count.
    """
    horizon = dt.timedelta(days=label.horizon_days)
    last = max(days) + dt.timedelta(days=days_ahead)
    rows = change_history(project, label.source, lake, engine, last, [label.column])
    value = rows[label.column].cast("string")
    rows = rows.mutate(_is=(value == label.value).fill_null(False))
    known = rows.cross_join(days_table("dt", sorted(set(days))))
    known = known.filter(known[DELIVERY_DAY] <= known["dt"] + ibis.interval(days=days_ahead))
    # The preceding row depends on the rows delivered by then, which differ between snapshot days.
    before = known["_is"].lag().over(group_by=["dt", *project.sources[label.source].key], order_by=change_order(known))
    known = known.mutate(_before=before.fill_null(False))
    found = known.filter(
        known["_is"],
        ~known["_before"],
        known[EVENT_DAY] > known["dt"],
        known[EVENT_DAY] <= known["dt"] + horizon,
    )
    return found.select("dt", **{CUSTOMER_ID: found[CUSTOMER]}).distinct()


def _column_label(
    project: Project, label: ColumnLabel, lake: Lake, engine: Engine, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    found = rows_as_of(project, label.source, lake, engine, days, [label.column])
    found = latest_row_per_customer(project, label.source, found)
    value = found[label.column].cast("string")
    if label.other_values is None:
        _require_two_values(label, engine, found.select("dt", value=value))
    is_known = value.notnull() if label.other_values is None else value.isin([label.value, *label.other_values])
    known = found.filter(is_known).select(
        "dt", **{CUSTOMER_ID: found[CUSTOMER], label.name: (value == label.value).cast("int8")}
    )
    return rows.inner_join(known, ["dt", CUSTOMER_ID]).select("dt", CUSTOMER_ID, label.name)


def _days_ahead(project: Project) -> int:
    # The deliveries of this number of days after a snapshot determine its labels; a table without time has only one.
    return project.label.horizon_days + project.lateness_days if project.has_time else 0


def _require_two_values(label: ColumnLabel, engine: Engine, rows: ibis.Table) -> None:
    rows = rows.filter(rows["value"].notnull())
    counts = rows.group_by("dt", "value").agg(rows=rows.count()).order_by("dt", ibis.desc("rows"), "value")
    by_day: dict[dt.date, dict[str, str]] = {}
    for found in engine.to_pyarrow(counts).to_pylist():
        shown = f"{found['value']!r} ({counted(found['rows'], 'row')})"
        by_day.setdefault(found["dt"], {})[found["value"]] = shown
    for day, values in by_day.items():
        others = [shown for value, shown in values.items() if value != label.value]
        listed = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        where = f"{silver_table(label.source)}, label.yaml"
        if label.value not in values:
            raise LabelError(
                f"Column {label.column!r} never has the value {label.value!r} on {day}; it has {listed}.",
                where=where,
                remedy="Correct value in label.yaml. If no customer has churned, name the values of customers who have "
                "not churned under other_values.",
            )
        if len(others) > 1:
            raise LabelError(
                f"Column {label.column!r} has {len(others)} values other than {label.value!r} on {day}: {listed}.",
                where=where,
                remedy="Name the values of customers who have not churned in label.yaml, under other_values; customers "
                "with another value get no label.",
            )


def _rebuilt_days_after(project: Project) -> int:
    # A changed day can change which rows of the following days are duplicates, and gold is rebuilt from those days.
    later = max(source.deduplicate_days for source in project.sources.values())
    return later + rebuilt_days_after(project)


def _write(project: Project, lake: Lake, affected: DayRange) -> int:
    labels = lake.table(LABELS_TABLE)
    labelled = {day for day in labels.days() if day in affected}
    matured = matured_days(project, lake, affected)
    if not matured and not labelled:
        return 0
    rows = _label_table(project, lake, matured) if matured else _schema(project).empty_table()
    labels.replace(sorted(labelled.union(matured)), rows)
    mark_labelled(project, lake, labelled, matured)
    return int(rows.num_rows)


def _label_table(project: Project, lake: Lake, matured: list[dt.date]) -> pa.Table:
    engine = lake.connect()
    gold = lake.table(FEATURES_TABLE).scan(engine, matured).select("dt", CUSTOMER_ID)
    rows = compute_labels(project, lake, engine, gold, matured)
    return rows.order_by("dt", CUSTOMER_ID).to_pyarrow().cast(_schema(project))


def _schema(project: Project) -> pa.Schema:
    return pa.schema([("dt", pa.date32()), (CUSTOMER_ID, pa.string()), (project.label.name, pa.int8())])
