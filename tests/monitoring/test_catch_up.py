from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.monitoring.catch_up import MissingDays, find_missing_days
from include.monitoring.results import write_result
from include.settings import Settings, TaskSettings
from tests.monitoring.results import monitoring_result

MAY = [dt.date(2024, 5, day) for day in range(1, 32)]


def write(settings: Settings, table: str, days: list[dt.date]) -> None:
    """Write one customer per day."""
    rows = pa.table({"dt": days, "customer_id": ["a"] * len(days)})
    open_lake(settings).table(table).replace(DayRange(days[0], days[-1]), rows)


def test_only_recent_days_since_the_first_list_are_missing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tasks=TaskSettings(maintenance_days=10))
    assert find_missing_days(settings) == MissingDays((), ())
    write(settings, FEATURES_TABLE, MAY)
    assert find_missing_days(settings) == MissingDays((), ()), "an ingested history has no lists by design"
    write(settings, SCORES_TABLE, [MAY[24], MAY[25], MAY[30]])
    write_result(settings.reports_dir, MAY[25], monitoring_result(MAY[25]))
    assert find_missing_days(settings) == MissingDays(tuple(MAY[26:30]), (MAY[24], MAY[30]))
    write(settings, SCORES_TABLE, MAY[:1])
    found = find_missing_days(settings)
    assert found.scores == (*MAY[21:24], *MAY[26:30]), "no day before the last ten days"
    assert MAY[0] not in found.reports
