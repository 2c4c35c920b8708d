"""Realised performance, computed from scores and labels in a lake."""

from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from include.days import DayRange
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SCORES_TABLE
from include.monitoring.decay import CALIBRATION_TOLERANCE, decay_severity, decay_verdict
from include.monitoring.performance import (
    ModelPerformance,
    Performance,
    deployed_evaluations,
    evaluate_model,
    realised_performance,
)
from include.projects import Project
from include.retention.retention_list import score_day
from include.training.model.contract import MetricValue, RecipeEvaluation
from tests.monitoring.conftest import TEST_AUC, Production
from tests.training.gold import small_project

HORIZON = dt.timedelta(days=28)
SCORED = 15
"""The index of a scored day in ``production.days``."""


def performance_on(production: Production, day: dt.date) -> Performance:
    return realised_performance(production.lake, production.project, deployed_evaluations(production.settings), day)


def replace_column(production: Production, table: str, day: dt.date, column: str, values: pa.Array) -> None:
    rows = production.lake.table(table).read([day])
    changed = rows.set_column(rows.schema.get_field_index(column), column, values)
    production.lake.table(table).replace(DayRange.single(day), changed)


def scored(production: Production) -> dt.date:
    day = production.days[SCORED]
    score_day(day, production.settings)
    return day


def test_performance_is_unknown_before_the_first_score(production: Production) -> None:
    performance = performance_on(production, production.days[20])
    assert (performance.state, performance.models, performance.decayed) == ("not yet known", (), False)


def test_scores_are_evaluated_once_the_horizon_has_passed(production: Production) -> None:
    matured = scored(production) + HORIZON
    assert performance_on(production, matured - dt.timedelta(days=1)).state == "not yet known"
    assert performance_on(production, matured).state == "known"


def test_figures_follow_from_scores_and_labels(production: Production) -> None:
    day = scored(production)
    found = performance_on(production, day + HORIZON)
    (model,) = found.models
    rows = production.lake.table(SCORES_TABLE).read([day])
    rows = rows.join(production.lake.table(LABELS_TABLE).read([day]), ["dt", "customer_id"], join_type="inner")
    churned, probability = np.asarray(rows["churned"]), np.asarray(rows["churn_probability"])
    values = {name: metric.value for name, metric in model.metrics.items()}
    assert values["auc"] == pytest.approx(roc_auc_score(churned, probability))
    assert values["brier"] == pytest.approx(np.mean((churned - probability) ** 2))
    assert values["observed_over_expected"] == pytest.approx(churned.mean() / probability.mean())
    assert (model.customers, model.churners) == (len(churned), churned.sum())
    assert (model.model_version, model.first_day, model.last_day) == ("1", str(day), str(day))
    assert model.promised["auc"].value == TEST_AUC
    age = [segment for segment in found.segments if segment.feature == "age"]
    assert sum(segment.customers for segment in age) <= model.customers
    assert len(age) > 1


def test_reversed_scores_are_decay(production: Production) -> None:
    day = scored(production)
    probability = np.asarray(production.lake.table(SCORES_TABLE).read([day])["churn_probability"])
    replace_column(production, SCORES_TABLE, day, "churn_probability", pa.array(1 - probability))
    performance = performance_on(production, day + HORIZON)
    assert performance.decayed
    assert "ranking has decayed: realised AUC" in performance.reason
    assert f"AUC on the test {TEST_AUC:.3f}" in performance.reason


def test_each_version_of_the_window_is_evaluated(production: Production) -> None:
    day = scored(production)
    rows = production.lake.table(SCORES_TABLE).read([day])
    later = day + dt.timedelta(days=1)
    moved = rows.set_column(0, "dt", pa.array([later] * rows.num_rows, pa.date32()))
    moved = moved.set_column(
        moved.schema.get_field_index("model_version"), "model_version", pa.array(["2"] * rows.num_rows)
    )
    production.lake.table(SCORES_TABLE).replace(DayRange.single(later), moved)
    labels = production.lake.table(LABELS_TABLE).read([day])
    moved = labels.set_column(0, "dt", pa.array([later] * labels.num_rows, pa.date32()))
    production.lake.table(LABELS_TABLE).replace(DayRange.single(later), moved)
    # Gold lacks the features of the later day.
    training = production.project.training.model_copy(update={"segments": ()})
    production.project = production.project.model_copy(update={"training": training})
    performance = performance_on(production, later + HORIZON)
    assert [model.model_version for model in performance.models] == ["2", "1"]
    assert performance.reason.startswith("Model version 2: The evaluation of its recipe is not known; observed")
    assert performance.models[1].verdict != "no verdict"


def test_segments_of_a_feature_that_gold_lacks_are_left_out(production: Production) -> None:
    day = scored(production)
    table = production.lake.table(FEATURES_TABLE)
    rows = table.read([day]).drop_columns("age")
    shutil.rmtree(table.uri)
    table.replace(DayRange.single(day), rows)
    assert {segment.feature for segment in performance_on(production, day + HORIZON).segments} == {"gap_days_84d"}


def test_auc_of_a_single_class_is_not_defined(production: Production) -> None:
    day = scored(production)
    count = production.lake.table(LABELS_TABLE).read([day]).num_rows
    replace_column(production, LABELS_TABLE, day, "churned", pa.array(np.zeros(count, dtype=np.int32)))
    performance = performance_on(production, day + HORIZON)
    (model,) = performance.models
    assert not {"auc", "average_precision", "recall"} & set(model.metrics)
    assert (model.verdict, model.metrics["observed_churn"].value) == ("no verdict", 0)
    assert "0 churners of 400 customers; a verdict needs 20" in performance.reason


def draws(seed: int, count: int, logit: float = 0.0, noise: float = 0.0) -> pd.DataFrame:
    """Return scores of ``count`` customers, and labels drawn from them.

    Args:
        seed: The seed of all draws.
        count: The number of customers.
        logit: The addition to the log-odds with which the labels are drawn.
        noise: The standard deviation of a random addition to these log-odds.
    """
    random = np.random.default_rng(seed)
    odds = random.normal(-2.0, 1.2, count)
    true = 1 / (1 + np.exp(-(odds * (noise == 0) + random.normal(-2.0, 1.2, count) * (noise > 0) + logit)))
    probability = 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "dt": dt.date(2017, 9, 1),
            "customer_id": [f"c{number}" for number in range(count)],
            "churn_probability": probability,
            "prediction": np.where(probability >= 0.1, "churn", "retain"),
            "churned": (random.random(count) < true).astype(int),
        }
    )


def evaluation(auc: float) -> RecipeEvaluation:
    day = dt.date(2017, 6, 1)
    metrics = {"auc": MetricValue(auc, auc - 0.02, auc + 0.02)}
    return RecipeEvaluation(trained_through=day, first_day=day, last_day=day, metrics=metrics, estimate_errors={})


@pytest.fixture(scope="module")
def project() -> Project:
    return small_project(resamples=100)


def evaluate(project: Project, rows: pd.DataFrame, auc: float = 0.77) -> ModelPerformance:
    return evaluate_model("1", rows, evaluation(auc), project)


def test_calibrated_scores_have_not_decayed(project: Project) -> None:
    found = evaluate(project, draws(1, 3000))
    assert found.verdict == "not decayed"
    assert "observed over expected churn" in found.reason


def test_base_rate_shift_is_decay_of_the_calibration(project: Project) -> None:
    found = evaluate(project, draws(2, 3000, logit=0.5))
    assert found.verdict == "decayed"
    assert "calibration has decayed" in found.reason
    assert "ranking" not in found.reason


def test_changed_concept_is_decay_of_the_ranking(project: Project) -> None:
    found = evaluate(project, draws(3, 3000, noise=1.0))
    assert found.verdict == "decayed"
    assert "ranking has decayed" in found.reason


def test_calibration_decays_without_a_known_test(project: Project) -> None:
    found = evaluate_model("1", draws(2, 3000, logit=0.5), None, project)
    assert found.verdict == "decayed"
    assert found.reason.startswith("the calibration has decayed")


@given(
    auc=st.floats(0.5, 0.9),
    ratio=st.floats(0.5, 2.0),
    half=st.floats(0.0, 0.1),
    known=st.booleans(),
)
def test_decay_is_a_severity_above_one(auc: float, ratio: float, half: float, known: bool) -> None:
    metrics = {
        "auc": MetricValue(auc, auc - half, auc + half),
        "observed_over_expected": MetricValue(ratio, ratio - half, ratio + half),
    }
    promised = {"auc": MetricValue(0.8, 0.78, 0.82)} if known else {}
    ranking = known and auc + half < 0.78
    calibration = ratio - half > CALIBRATION_TOLERANCE or ratio + half < 1 / CALIBRATION_TOLERANCE
    assert (decay_severity(metrics, promised) > 1) == (ranking or calibration)
    verdict, _ = decay_verdict(metrics, promised, 500, 5000, 100)
    assert (verdict == "decayed") == (ranking or calibration)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 600), logit=st.sampled_from([-3.0, 0.0, 3.0]))
def test_every_interval_contains_its_value_and_few_churners_give_no_verdict(
    project: Project, seed: int, count: int, logit: float
) -> None:
    rows = draws(seed, count, logit)
    found = evaluate(project, rows, auc=0.97)
    assert all(metric.low <= metric.value <= metric.high for metric in found.metrics.values())
    assert ("auc" in found.metrics) == (rows["churned"].nunique() == 2)
    if rows["churned"].sum() < project.monitoring.min_churners:
        assert found.verdict == "no verdict"
        assert "a verdict needs 100" in found.reason
    shuffled = rows.sample(frac=1, random_state=seed)
    assert evaluate(project, shuffled, auc=0.97).verdict == found.verdict
