from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from include.monitoring.history import read_history
from include.monitoring.results import ResultError, day_dir, write_result
from include.monitoring.summary import SUMMARY_FILE
from include.settings import ProjectMismatchError
from tests.monitoring.results import drifted_feature, monitoring_result, realised_model, source_health

DAYS = [dt.date(2026, 3, day) for day in range(1, 11)]


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "grocery"


def test_summary_has_the_figures_of_the_result(reports: Path) -> None:
    day, scored = DAYS[9], dt.date(2026, 2, 10)
    features = [
        drifted_feature("spend", 3.12345),
        drifted_feature("rare", 2.0, counts=False),
        drifted_feature("calm", 0.7),
        drifted_feature("still", 0.0),
    ]
    estimate = {"auc": {"value": 0.85, "low": 0.8, "high": 0.9}, "recall": {"value": 0.5, "low": 0.4, "high": 0.6}}
    fell = {"findings": [{"kind": "volume", "text": "rows fell by 58%"}], "exceeds": True, "severity": 1.9}
    result = monitoring_result(
        day,
        drift={"drifted": True, "features": features, "features_day": str(DAYS[8])},
        root_causes=["spend is computed from transactions."],
        sources=[source_health("transactions", day, **fell)],
        performance={"models": [realised_model(scored)]},
        expected={"model_version": "8", "customers": 2000, "metrics": estimate},
        retrain_reason="drift",
    )
    write_result(reports, day, result)
    (summary,) = read_history(reports)
    assert (summary.day, summary.model_version, summary.drifted, summary.severity) == (day, "7", True, 0.4)
    assert summary.features_day == DAYS[8]
    assert summary.severities == {"spend": 3.123, "rare": 2.0, "calm": 0.7}, "a feature without a change is left out"
    assert (summary.drifted_features, summary.informing_features) == (("spend",), ("rare",))
    assert summary.root_causes == ("spend is computed from transactions.",)
    (source,) = summary.sources
    assert (source.name, source.exceeds, source.newest, source.findings) == (
        "transactions",
        True,
        day,
        ("rows fell by 58%",),
    )
    assert summary.realised is not None
    assert (summary.realised.last_day, summary.realised.verdict) == (scored, "not decayed")
    assert (summary.realised.metrics["auc"].value, summary.realised.promised["auc"].low) == (0.841, 0.84)
    assert summary.expected is not None
    assert (summary.expected.model_version, list(summary.expected.metrics)) == ("8", ["auc"])
    assert summary.retrain_reason == "drift"


def test_newest_days_are_read_in_the_order_of_days(reports: Path) -> None:
    assert read_history(reports) == []
    for day in reversed(DAYS):
        write_result(reports, day, monitoring_result(day))
    assert [summary.day for summary in read_history(reports)] == DAYS
    assert [summary.day for summary in read_history(reports, days=3)] == DAYS[-3:]


def test_day_without_a_summary_is_left_out(reports: Path) -> None:
    for day in DAYS[:2]:
        write_result(reports, day, monitoring_result(day))
    (day_dir(reports, DAYS[0]) / SUMMARY_FILE).unlink()
    assert [summary.day for summary in read_history(reports)] == DAYS[1:2]


@pytest.mark.parametrize("content", ["{", "{}", "[1]"])
def test_damaged_summary_is_an_error_with_its_path(reports: Path, content: str) -> None:
    for day in DAYS[:2]:
        write_result(reports, day, monitoring_result(day))
    (day_dir(reports, DAYS[1]) / SUMMARY_FILE).write_text(content)
    with pytest.raises(ResultError, match=rf"{DAYS[1]}/summary\.json.*Run churn_monitor again"):
        read_history(reports)


def test_refused_result_replaces_no_summary(reports: Path) -> None:
    write_result(reports, DAYS[0], monitoring_result(DAYS[0]))
    days = [{"day": str(DAYS[0]), "severity": float("nan"), "exceeds": False}]
    with pytest.raises(ValueError, match="JSON"):
        write_result(reports, DAYS[0], monitoring_result(DAYS[0], drift={"days": days}))
    assert read_history(reports)[0].severity == 0.4


def test_summary_of_another_project_is_refused(reports: Path) -> None:
    write_result(reports, DAYS[0], monitoring_result(DAYS[0], project="other"))
    with pytest.raises(ProjectMismatchError, match=r"belongs to project 'other'.*summary\.json"):
        read_history(reports)


def test_summary_of_a_wide_result_is_small(reports: Path) -> None:
    features = [drifted_feature(f"feature_{number}", 0.5 + number / 100) for number in range(100)]
    write_result(reports, DAYS[0], monitoring_result(DAYS[0], drift={"features": features}))
    folder = day_dir(reports, DAYS[0])
    assert json.loads((folder / SUMMARY_FILE).read_text())["day"] == str(DAYS[0])
    assert (folder / SUMMARY_FILE).stat().st_size < 5_000
