"""The health of sources in a lake, and the root causes of drifted features."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import quarantine_table, silver_table
from include.local_files import write_atomically
from include.monitoring.drift import DayDrift, judge
from include.monitoring.root_cause import root_causes
from include.monitoring.source_health import SourceHealth, counting_sources, source_health, source_severity
from include.monitoring.source_rows import read_source_rows
from include.projects import Project, load_project
from include.quality.silver_days import record_loaded_days
from include.sources.audit.results import (
    AUDIT_FILE,
    Audit,
    Change,
    DeliveryFrequency,
    Sample,
    SourceAudit,
    Speed,
    Volume,
    to_json,
)

DAYS = DayRange(dt.date(2023, 1, 1), dt.date(2023, 6, 9))
TRAINED = dt.date(2023, 4, 30)
LAST_TICKETS = dt.date(2023, 6, 5)
DAY = dt.date(2023, 6, 8)
SOURCES = ("sessions", "support_tickets")
ORDER_RULE = "expect_column_pair_values_a_to_be_greater_than_b(ended_at, started_at)"


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project("subscription")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a lake whose support tickets stop, and whose sessions have a new column and a violation."""
    home = tmp_path_factory.mktemp("sources")
    lake = Lake(str(home / "lake"))
    rng = np.random.default_rng(3)
    for name, mean in zip(SOURCES, (60, 8), strict=True):
        counts = [0 if name == "support_tickets" and day > LAST_TICKETS else rng.poisson(mean) for day in DAYS]
        lake.table(silver_table(name)).replace(DAYS, rows_of(np.repeat(list(DAYS), counts)))
    record_loaded_days(lake, {name: set(DAYS) for name in SOURCES}, DAYS)
    rules = ["type:duration_s"] * 20 + [f"{ORDER_RULE}, type:pages"] * 10
    refused = rows_of([DAY] * 30).append_column("rules", pa.array(rules))
    lake.table(quarantine_table("sessions")).replace(DayRange.single(DAY), refused)
    change = Change("app_version", "is new", day=dt.date(2023, 6, 2), compared_with=dt.date(2023, 6, 1))
    for last in (dt.date(2023, 6, 2), dt.date(2023, 6, 9)):
        audit = Audit("subscription", last, last, None, True, {"sessions": audit_of("sessions", [change])})
        folder = home / "reports" / "audit" / str(last)
        folder.mkdir(parents=True)
        write_atomically(folder / AUDIT_FILE, to_json(audit))
    return home


def rows_of(days: list[dt.date] | np.ndarray) -> pa.Table:
    return pa.table({"dt": pa.array(list(days), pa.date32()), "id": pa.array(range(len(days)), pa.int64())})


def audit_of(name: str, changes: list[Change]) -> SourceAudit:
    return SourceAudit(
        name=name,
        description="",
        kind="events",
        owner="",
        connector="",
        format="parquet",
        location="",
        authentication="",
        columns=[],
        layouts=1,
        key=[],
        duplicate_keys=0,
        newest=None,
        age_days=None,
        sample=Sample(None, None, 0, True),
        volume=Volume(1, 0, False, 0),
        rhythm=DeliveryFrequency(1, None),
        speed=Speed(0.0, None, None, None),
        contract="",
        checks=0,
        changes=changes,
    )


def health_of(home: Path, project: Project, day: dt.date, last_read: dt.date | None = None) -> dict[str, SourceHealth]:
    lake = Lake(str(home / "lake"))
    rows = read_source_rows(lake, project, last_read or day)
    found = source_health(lake, project, rows, {"support_tickets"}, home / "reports", TRAINED, day)
    return {source.name: source for source in found}


def test_source_that_stops_exceeds_the_limit_on_its_second_day_without_rows(home: Path, project: Project) -> None:
    rows = read_source_rows(Lake(str(home / "lake")), project, DAYS.last)

    def severity(source: str, days: int) -> float:
        return source_severity(rows, {source}, project, TRAINED, LAST_TICKETS + dt.timedelta(days=days))

    assert severity("support_tickets", 0) < 1
    assert severity("support_tickets", 2) >= project.monitoring.drift.multiplier
    assert severity("sessions", 2) < 1
    before_ingest = DAYS.first - dt.timedelta(days=9)
    assert source_severity(rows, {"support_tickets"}, project, TRAINED, before_ingest) == 0


def test_findings_state_rows_gaps_schema_and_quarantine(home: Path, project: Project) -> None:
    sources = health_of(home, project, DAY)
    tickets, sessions = sources["support_tickets"], sources["sessions"]
    assert next(iter(sources)) == "support_tickets"
    assert tickets.counts
    assert tickets.exceeds
    assert not sessions.counts
    assert not sessions.exceeds
    assert tickets.severity == 3
    assert [finding.kind for finding in tickets.findings] == ["volume", "freshness"]
    volume, freshness = (finding.text for finding in tickets.findings)
    assert volume.startswith("rows fell by ")
    assert " since 2023-06-06 (" in volume
    assert freshness == "no rows for 3 days, the last on 2023-06-05 (the longest earlier gap is 0 days)"
    assert [finding.kind for finding in sessions.findings] == ["schema", "quarantine"]
    assert sessions.findings[0].text == "column 'app_version' is new (2023-06-02)"
    assert sessions.quarantined == {"type:duration_s": 20, ORDER_RULE: 10, "type:pages": 10}
    assert "20 by 'type:duration_s'" in sessions.findings[1].text
    assert sources["customers"].rows == 0  # a source without rows is not an error
    assert sources["customers"].severity == 0


def test_later_days_do_not_change_the_health_of_a_day(home: Path, project: Project) -> None:
    for day in (dt.date(2023, 6, 1), DAY):
        assert health_of(home, project, day) == health_of(home, project, day, last_read=DAYS.last)
    assert health_of(home, project, dt.date(2023, 6, 1))["sessions"].findings == ()


def test_sources_of_influential_features_population_and_label_count(project: Project) -> None:
    influences = {"spend_per_session_30d": 0.02, "tickets_30d": 0.001}
    assert counting_sources(project, influences) == {"customers", "sessions", "transactions"}
    assert counting_sources(project, {}) == {"customers"}


def test_source_makes_a_day_exceed_the_limits_without_a_drifted_feature(project: Project) -> None:
    days = {day: DayDrift(0.0, False, 100, ()) for day in DayRange(dt.date(2023, 6, 6), DAY)}
    limits = project.monitoring.drift
    sources = {dt.date(2023, 6, 7): 2.0, DAY: 3.0}
    verdict = judge(days, limits, has_time=True, sources=sources)
    assert verdict.drifted
    assert verdict.exceeding_days == tuple(sources)
    assert not judge(days, limits, has_time=True, sources={DAY: 3.0}).drifted
    assert not judge(days, limits, has_time=True).drifted


def test_root_causes_group_features_by_source(home: Path, project: Project) -> None:
    drifted = ["churn_probability", "sessions_7d", "spend_per_session_30d", "plan"]
    causes = root_causes(project, drifted, list(health_of(home, project, DAY).values()))
    assert [cause.split(";")[0] for cause in causes] == [
        "No feature of 'support_tickets' drifted",
        "2 features of 'sessions' drifted",
        "1 feature of 'customers' drifted",
        "1 feature of 'transactions' drifted",
    ]
    assert "no rows for 3 days" in causes[0]
    assert "column 'app_version' is new" in causes[1]
    assert "; no finding about the number of rows of 'sessions' (" in causes[1]
    assert causes[2].endswith("no finding about the number of rows of 'customers'.")
    assert root_causes(project, [], list(health_of(home, project, dt.date(2023, 6, 1)).values())) == []
