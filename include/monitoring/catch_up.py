"""Find days without a retention list or a monitoring report that they should have.

Airflow drops an asset's event while the DAG that it would trigger is paused. A run can also
fail. The tables show which results are missing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.logs import get_logger
from include.monitoring.results import result_days
from include.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True)
class MissingDays:
    """The days without a result.

    Attributes:
        scores: The days in gold without a retention list.
        reports: The days with a retention list, but without a monitoring report.
    """

    scores: tuple[dt.date, ...]
    reports: tuple[dt.date, ...]


def find_missing_days(settings: Settings) -> MissingDays:
    """Return the days without a retention list or a monitoring report.

    Most days of a long history have no list by design: an ingest of a range scores its last day only. Therefore this
    function considers the last ``CHURN_TASKS__MAINTENANCE_DAYS`` days up to the newest day in gold, and only days from
    the first retention list on. Without any list, nothing is missing.

    Args:
        settings: The lake, the reports and the number of days.
    """
    lake = open_lake(settings)
    gold, scored = set(lake.table(FEATURES_TABLE).days()), set(lake.table(SCORES_TABLE).days())
    if not gold or not scored:
        return MissingDays((), ())
    window = DayRange.ending(max(gold), settings.tasks.maintenance_days)
    considered = {day for day in window if day >= min(scored)}
    found = MissingDays(
        scores=tuple(sorted(considered & gold - scored)),
        reports=tuple(sorted(considered & scored - set(result_days(settings.reports_dir)))),
    )
    log.info("looked for missing days", extra={"days": str(window), "found": str(found)})
    return found
