"""Labels: who churned, known only once the horizon after the snapshot day has passed and been loaded."""

from __future__ import annotations

import datetime as dt
import time

import pyarrow as pa

from include.days import DayRange
from include.features.events import CUSTOMER, HAPPENED, KNOWN, active_days
from include.lake import Lake, connect
from include.logs import get_logger
from include.projects import Project
from include.quality.loaded import loaded_days
from include.results import StepResult

log = get_logger(__name__)

FEATURES, LABELS = "gold/features", "gold/labels"


def build_labels(project: Project, lake: Lake, days: DayRange) -> StepResult:
    """Label the gold rows whose horizon touches ``days`` and is now complete; the others stay without a label.

    A customer with gold row ``D`` churned when the label's source has no event of theirs in ``(D, D + horizon]`` that
    was delivered by ``D + horizon``.
    """
    start = time.perf_counter()
    horizon = dt.timedelta(days=project.label.horizon_days)
    touched = DayRange(days.first - horizon, days.last)
    matured = matured_days(project, lake, touched)
    labels = lake.table(LABELS)
    if not matured:
        version = labels.version() if labels.exists() else -1
        return StepResult(LABELS, 0, 0, 0, version, round(time.perf_counter() - start, 3))
    rows = _label(project, lake, matured)
    version = labels.replace(matured, rows)
    result = StepResult(LABELS, rows.num_rows, 0, rows.num_rows, version, round(time.perf_counter() - start, 3))
    log.info("labels built", extra=result.as_dict())
    return result


def matured_days(project: Project, lake: Lake, days: DayRange) -> list[dt.date]:
    """Return the gold days of ``days`` for which every day of the horizon after them has been loaded, sorted."""
    horizon = project.label.horizon_days
    loaded = loaded_days(lake, project.label.source, DayRange(days.first, days.last + dt.timedelta(days=horizon)))
    gold = [day for day in lake.table(FEATURES).days() if day in days]
    return [day for day in gold if all(day + dt.timedelta(days=ahead) in loaded for ahead in range(1, horizon + 1))]


def _label(project: Project, lake: Lake, matured: list[dt.date]) -> pa.Table:
    engine = connect()
    horizon = dt.timedelta(days=project.label.horizon_days)
    rows = lake.table(FEATURES).scan(engine, matured).select("dt", CUSTOMER)
    later = active_days(project, project.label.source, lake, engine, DayRange(matured[0], matured[-1] + horizon))
    limit = rows["dt"] + horizon
    stayed = rows.semi_join(
        later,
        [
            rows[CUSTOMER] == later[CUSTOMER],
            later[HAPPENED] > rows["dt"],
            later[HAPPENED] <= limit,
            later[KNOWN] <= limit,
        ],
    )
    marked = rows.left_join(stayed.mutate(stayed=1), ["dt", CUSTOMER])
    churned = marked.select("dt", CUSTOMER, **{project.label.name: marked["stayed"].isnull().cast("int8")})
    return churned.order_by("dt", CUSTOMER).to_pyarrow()
