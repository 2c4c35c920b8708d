"""Incidents as rows in the lake: when they open, change and end, and the facts in their texts."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.incidents import LIMIT, write_day
from include.lake import open_lake
from include.lake.table_names import INCIDENTS_TABLE
from include.monitoring.incidents import (
    Incident,
    IncidentError,
    acknowledge,
    read_acknowledgements,
    read_incident_days,
    read_incidents,
    record_incidents,
)
from include.monitoring.results import RESULT_FILE, ResultError, day_dir
from include.projects import load_project
from include.settings import Settings
from tests.monitoring.results import realised_model

DAYS = [dt.date(2018, 1, 1) + dt.timedelta(days=offset) for offset in range(14)]
PROJECT = load_project("grocery")


@pytest.fixture
def deployment(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def record(deployment: Settings, day: dt.date, severity: float, **changes: Any) -> list[Incident]:
    write_day(deployment, day, severity, **changes)
    return record_incidents(PROJECT, deployment, day)


def record_all(deployment: Settings, severities: Sequence[float], order: Sequence[int] | None = None) -> None:
    for number in range(len(severities)) if order is None else order:
        record(deployment, DAYS[number], severities[number])


def changes(deployment: Settings) -> list[tuple[str, str]]:
    found = read_incident_days(open_lake(deployment))
    return [(str(item.last_day), item.change) for item in found if item.change != "unchanged"]


def rows(deployment: Settings) -> list[dict[str, Any]]:
    table = open_lake(deployment).table(INCIDENTS_TABLE)
    found: list[dict[str, Any]] = table.read(table.days()).to_pylist() if table.exists() else []
    return sorted(found, key=lambda row: (row["dt"], row["kind"]))


def drift(*judged: float, drifted: bool) -> dict[str, Any]:
    """Return a verdict of drift over several judged days."""
    return {
        "drifted": drifted,
        "reason": "Some of the last days exceed the limits.",
        "promise": "No backtest.",
        "days": [{"day": "2018-01-01", "severity": value, "exceeds": value >= LIMIT} for value in judged],
        "features_day": "2018-01-01",
        "drifted_features": 0,
        "features": [],
    }


def performance(verdict: str, auc: float = 0.7, ratio: float = 1.0, version: str = "2") -> dict[str, Any]:
    """Return a realised performance whose intervals have half widths of .02."""

    def around(value: float, half: float = 0.02) -> dict[str, float]:
        return {"value": value, "low": value - half, "high": value + half}

    model = realised_model(DAYS[0]) | {
        "model_version": version,
        "verdict": verdict,
        "metrics": {
            "auc": around(auc),
            "observed_over_expected": around(ratio),
            "saving_usd_per_1000": around(700, 100),
        },
        "promised": {"auc": around(0.8), "saving_usd_per_1000": around(1200, 100)},
    }
    return {"reason": f"Model version {version}: {verdict}.", "models": [model]}


def test_drift_incident_opens_gets_worse_gets_better_and_ends(deployment: Settings) -> None:
    record_all(deployment, [0.4, 1.8, 2.6, 2.8, 3.0, 1.9, 0.3, 0.2])
    assert changes(deployment) == [
        ("2018-01-02", "opened"),
        ("2018-01-04", "worse"),
        ("2018-01-07", "resolved"),
    ]
    (incident,) = read_incidents(open_lake(deployment))
    assert (incident.incident_id, incident.open, incident.peak) == ("drift-2018-01-02", False, 3.0)
    assert incident.last_day == DAYS[6]


def test_change_is_measured_from_the_last_reported_severity(deployment: Settings) -> None:
    record_all(deployment, [2.0, 2.9, 3.0, 4.5, 3.1, 3.0])
    assert [change for _, change in changes(deployment)] == ["opened", "worse", "worse", "better"]


def test_verdict_that_changes_from_day_to_day_causes_one_incident(deployment: Settings) -> None:
    for day, (judged, drifted) in enumerate(
        [((0.1, 1.9, 1.8), True), ((1.9, 1.8, 0.2), True), ((1.8, 0.2, 0.1), False), ((0.2, 0.1, 1.7), False)]
    ):
        record(deployment, DAYS[day], 0, drift=drift(*judged, drifted=drifted))
    assert [change for _, change in changes(deployment)] == ["opened"]
    assert read_incidents(open_lake(deployment))[0].open
    record(deployment, DAYS[4], 0, drift=drift(0.1, 0.2, 0.3, drifted=False))
    record(deployment, DAYS[5], 0, drift=drift(0.2, 1.9, 1.9, drifted=True))
    assert [item.incident_id for item in read_incidents(open_lake(deployment))] == [
        "drift-2018-01-06",
        "drift-2018-01-01",
    ]


def test_decay_stays_open_without_a_verdict_and_ends_with_the_new_model(deployment: Settings) -> None:
    record(deployment, DAYS[0], 0, performance=performance("decayed"))
    (opened,) = record(deployment, DAYS[1], 0, performance={"reason": "No scored day has matured.", "models": []})
    assert (opened.kind, opened.change, opened.open) == ("decay", "unchanged", True)
    assert opened.severity == pytest.approx(2.5), "a gap of .1 between intervals with half widths of .02"
    record(deployment, DAYS[2], 0, performance=performance("decayed", ratio=1.8))
    record(deployment, DAYS[3], 0, performance=performance("not decayed", auc=0.79, version="3"))
    assert [change for _, change in changes(deployment)] == ["opened", "resolved"]
    assert read_incidents(open_lake(deployment))[0].model_version == "3"


def test_facts_state_cause_scores_money_and_training(deployment: Settings) -> None:
    (found,) = record(deployment, DAYS[0], 1.8)
    text, position = " | ".join(found.lines), 0
    for fact in (
        "Probable cause: 2 features of 'visits' drifted",
        "visits_28d: mean 4.1",
        "Scores: mean 0.11 → 0.16",
        "from the scores: $900; of the training data: $1,500",
        "per 1,000 customers: $900 ($700 to $1,100)",
        "No training has been requested. A source delivers fewer rows than usual.",
        "Backtest: 0 false verdicts.",
    ):
        position = text.index(fact, position)  # in this order
    _, decay = record(deployment, DAYS[1], 1.8, performance=performance("decayed"), retrain_reason="decay")
    assert (
        "Realised saving per 1,000 customers: $700 ($600 to $800), on the test $1,200 ($1,100 to $1,300)."
        in decay.lines
    )
    assert "Model version 3 is deployed; the labels of its scores are not yet known." in decay.lines
    assert "A training has been requested." in decay.lines


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(
    severities=st.lists(st.sampled_from([0.2, 1.6, 2.5, 4.0]), min_size=2, max_size=4),
    data=st.data(),
)
def test_order_and_repetition_of_days_do_not_matter(severities: list[float], data: st.DataObject) -> None:
    numbers = range(len(severities))
    order = data.draw(st.permutations(list(numbers))) + data.draw(st.lists(st.sampled_from(numbers), max_size=1))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        in_order, shuffled = Settings(home=Path(one)), Settings(home=Path(other))
        record_all(in_order, severities)
        record_all(shuffled, severities, order)
        assert rows(shuffled) == rows(in_order)


def test_day_that_is_recorded_again_is_not_written_again(deployment: Settings) -> None:
    record_all(deployment, [1.8, 1.9, 0.2])
    table = open_lake(deployment).table(INCIDENTS_TABLE)
    version = table.version()
    record_all(deployment, [1.8, 1.9, 0.2])
    assert table.version() == version
    record(deployment, DAYS[0], 0.2)
    assert [item.incident_id for item in read_incidents(open_lake(deployment))] == ["drift-2018-01-02"]


def test_day_without_a_result_is_an_error(deployment: Settings) -> None:
    with pytest.raises(ResultError, match="2018-01-01"):
        record_incidents(PROJECT, deployment, DAYS[0])


def test_later_result_of_an_earlier_release_is_an_error_with_its_remedy(deployment: Settings) -> None:
    for day in (0, 1):
        write_day(deployment, DAYS[day], LIMIT)
    file = day_dir(deployment.reports_dir, DAYS[1]) / RESULT_FILE
    result = json.loads(file.read_text())
    del result["expected_saving_usd_per_1000"]
    file.write_text(json.dumps(result))
    with pytest.raises(ResultError, match=f"{DAYS[1]}.*churn_monitor"):
        record_incidents(PROJECT, deployment, DAYS[0])


def test_acknowledgement_is_recorded_once_per_user(deployment: Settings) -> None:
    with pytest.raises(IncidentError, match="No incident is open"):
        acknowledge(deployment, "ann")
    record_all(deployment, [1.8, 1.9])
    for _ in range(2):
        assert acknowledge(deployment, "ann", "I look at the source.").incident_id == "drift-2018-01-01"
    acknowledge(deployment, "bob", incident_id="drift-2018-01-01")
    lake = open_lake(deployment)
    assert [item.user for item in read_acknowledgements(lake)] == ["ann", "bob"]
    assert read_incidents(lake)[0].acknowledged_by == "bob"
    record_all(deployment, [1.8, 1.9])
    assert read_incidents(lake)[0].acknowledged_by == "bob"
    with pytest.raises(IncidentError, match=r"no incident 'decay-2018'.*Open incidents: drift-2018-01-01"):
        acknowledge(deployment, "ann", incident_id="decay-2018")
