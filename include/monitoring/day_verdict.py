"""The verdict of drift of a monitored day: the judged days, the features and the sources."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.drift import DayDrift, DriftVerdict, detect_drift, judge
from include.monitoring.source_health import SourceHealth, counting_sources, source_health, source_severity
from include.monitoring.source_rows import read_source_rows
from include.monitoring.windows import judged_days, latest_rows, window_days, with_scores
from include.projects import Project
from include.training.evaluation.change import Values
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, ReferenceProfile


@dataclass(frozen=True)
class DayVerdict:
    """The verdict of drift of a monitored day, and the rows behind it.

    Attributes:
        verdict: The verdict over the judged days.
        sources: The health of the sources on the monitored day.
        scores: The model's scores of the window that ends with the monitored day.
        shown_days: The days of the window of ``verdict.shown_day``.
        shown_rows: The rows of that window, one per customer, with the model's scores.
    """

    verdict: DriftVerdict
    sources: tuple[SourceHealth, ...]
    scores: Values
    shown_days: tuple[dt.date, ...]
    shown_rows: pa.Table


def judge_day(
    project: Project, lake: Lake, bundle: Bundle, profile: ReferenceProfile, reports_dir: Path, day: dt.date
) -> DayVerdict:
    """Compare the last days up to ``day`` with the reference profile, and return the verdict of drift.

    The last days are compared again, so the verdict depends neither on earlier results nor on their order.

    Args:
        project: The project's features and monitoring rules.
        lake: The lake with gold, silver and quarantine.
        bundle: The deployed model.
        profile: Its reference profile.
        reports_dir: The project's folder of reports, with the audits.
        day: The monitored day.

    Raises:
        WindowError: Gold has no rows of the day.
    """
    limits, trained = project.monitoring.drift, bundle.contract.trained_through
    judged = judged_days(lake, day, limits.of_days if project.has_time else 1)
    in_gold = lake.table(FEATURES_TABLE).days()
    windows = {past: tuple(window_days(project, in_gold, past)) for past in judged}

    @lru_cache(maxsize=1)
    def rows_of(days: tuple[dt.date, ...]) -> pa.Table:
        return with_scores(latest_rows(lake, bundle.contract, days), bundle)

    # The days between two snapshots have the same window.
    compared: dict[tuple[dt.date, ...], DayDrift] = {}
    for days in windows.values():
        if days not in compared:
            compared[days] = detect_drift(profile, rows_of(days), limits)
    counting = counting_sources(project, {name: feature.influence for name, feature in profile.features.items()})
    deliveries = read_source_rows(lake, project, day)
    sources = source_health(lake, project, deliveries, counting, reports_dir, trained, day)
    severities = {past: source_severity(deliveries, counting, project, trained, past) for past in judged[:-1]}
    severities[day] = max((source.severity for source in sources if source.counts), default=0.0)
    found = {past: compared[days] for past, days in windows.items()}
    verdict = judge(found, limits, project.has_time, severities)
    scores = Values.of_column(rows_of(windows[day])[SCORE], "number")
    shown = windows[verdict.shown_day]
    return DayVerdict(verdict, sources, scores, shown, rows_of(shown))
