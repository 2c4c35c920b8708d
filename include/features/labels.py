"""Labels: who churned, known only once the horizon after the snapshot day has passed and been loaded."""

from __future__ import annotations

import datetime as dt
import time

import pyarrow as pa

from include.days import DayRange
from include.features.churned import label_rows
from include.features.definitions import mark_labelled
from include.features.events import CUSTOMER
from include.features.lookback import followed_days, read_days
from include.lake import Lake, StepResult, connect, with_optimistic_retry
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SILVER_DAYS_TABLE, silver_table
from include.logs import get_logger
from include.projects import Project
from include.quality.loaded import loaded_days

log = get_logger(__name__)


def build_labels(project: Project, lake: Lake, days: DayRange) -> StepResult:
    """Label the gold rows that ``days`` touch and whose horizon is complete; the others stay without a label.

    ``days`` touch the gold days whose horizon reaches into them, and the later ones whose rows follow them. Labels of
    such a day that has no gold row any more are removed.

    Args:
        project: The project.
        lake: Its lake; gold must hold ``days``.
        days: The days that were ingested.

    Raises:
        LakeError: Other runs replaced what was read during every attempt.
    """
    start = time.perf_counter()
    horizon = dt.timedelta(days=project.label.horizon_days)
    touched = DayRange(days.first - horizon, days.last + dt.timedelta(days=_followed(project)))
    silver = read_days(project, DayRange(touched.first, touched.last + horizon))
    inputs = {FEATURES_TABLE: touched, SILVER_DAYS_TABLE: silver, silver_table(project.label.source): silver}
    written = with_optimistic_retry(lake, inputs, lambda: _write(project, lake, touched))
    labels = lake.table(LABELS_TABLE)
    version = labels.version() if labels.exists() else -1
    result = StepResult(LABELS_TABLE, written, 0, written, version, round(time.perf_counter() - start, 3))
    log.info("labels built", extra=result.as_dict())
    return result


def matured_days(project: Project, lake: Lake, days: DayRange) -> list[dt.date]:
    """Return the gold days of ``days`` for which silver holds every day of the horizon after them, sorted."""
    horizon = project.label.horizon_days
    loaded = loaded_days(lake, project.label.source, DayRange(days.first, days.last + dt.timedelta(days=horizon)))
    gold = [day for day in lake.table(FEATURES_TABLE).days() if day in days]
    return [day for day in gold if all(day + dt.timedelta(days=ahead) in loaded for ahead in range(1, horizon + 1))]


def _followed(project: Project) -> int:
    # A late row can unmake a duplicate of itself some days later, and gold follows from there.
    later = max(source.deduplicate_days for source in project.sources.values())
    return later + followed_days(project)


def _write(project: Project, lake: Lake, touched: DayRange) -> int:
    labels = lake.table(LABELS_TABLE)
    labelled = {day for day in labels.days() if day in touched}
    matured = matured_days(project, lake, touched)
    if not matured and not labelled:
        return 0
    rows = _labels(project, lake, matured) if matured else _schema(project).empty_table()
    labels.replace(sorted(labelled.union(matured)), rows)
    mark_labelled(project, lake, labelled, matured)
    return int(rows.num_rows)


def _labels(project: Project, lake: Lake, matured: list[dt.date]) -> pa.Table:
    engine = connect()
    gold = lake.table(FEATURES_TABLE).scan(engine, matured).select("dt", CUSTOMER)
    rows = label_rows(project, lake, engine, gold, matured)
    return rows.order_by("dt", CUSTOMER).to_pyarrow().cast(_schema(project))


def _schema(project: Project) -> pa.Schema:
    return pa.schema([("dt", pa.date32()), (CUSTOMER, pa.string()), (project.label.name, pa.int8())])
