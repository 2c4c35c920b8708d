from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score

from include.projects import Project, load_project
from include.training.data.rows import Rows
from include.training.evaluation.baselines import recency_feature
from include.training.evaluation.bootstrap import CustomerBootstrap, interval
from include.training.evaluation.decisions import decide, saving_curve
from include.training.evaluation.evaluate import EvaluationError, evaluate
from include.training.evaluation.metrics import deciles, expected_calibration_error, reliability
from tests.training.gold import without_family

COSTS = load_project("grocery").requirements.costs


def rows(churned: list[int], recency: list[float | None]) -> Rows:
    return Rows(
        days=np.array(["2017-06-04"] * len(churned), dtype="datetime64[D]"),
        customers=pa.chunked_array([[f"c{number}" for number in range(len(churned))]]),
        features=pa.table({"days_since_purchase": pa.array(recency, pa.float64())}),
        matrix=np.zeros((len(churned), 1), dtype=np.float32),
        churned=np.array(churned, dtype=np.int8),
    )


TRAIN = rows([0, 0, 0, 1, 1], [1, 2, 3, 20, None])
TEST = rows([0, 0, 1, 1], [1, 30, 25, None])


def test_savings_are_relative_to_no_offers() -> None:
    decisions = decide(np.array([1, 1, 0, 0], np.int8), np.array([True, False, True, False]), COSTS)
    assert decisions.saving_usd_per_1000 == (500 - 50) / 4 * 1000
    assert (decisions.precision, decisions.recall, decisions.accuracy) == (0.5, 0.5, 0.5)
    assert decisions.offers_per_1000 == 500


def test_no_offers_save_nothing() -> None:
    decisions = decide(np.array([1, 0], np.int8), np.array([False, False]), COSTS)
    assert (decisions.saving_usd_per_1000, decisions.precision, decisions.f1) == (0, 0, 0)


def test_perfect_model_has_the_best_metrics(project: Project) -> None:
    evaluation = evaluate(project, TRAIN, TEST, np.array([0.0, 0.05, 0.9, 1.0], np.float32), COSTS.threshold)
    assert (evaluation.auc, evaluation.pr_auc) == (1.0, 1.0)
    assert evaluation.at_threshold.saving_usd_per_1000 == 2 * 500 / 4 * 1000
    assert evaluation.metrics()["accuracy"] == 1.0


def test_reports_both_thresholds(project: Project) -> None:
    metrics = evaluate(project, TRAIN, TEST, np.array([0.0, 0.2, 0.3, 0.6], np.float32), 0.1).metrics()
    assert metrics["recall"] == 0.5
    assert metrics["recall_at_threshold"] == 1.0
    assert metrics["precision_at_threshold"] == pytest.approx(2 / 3)


def test_recency_limit_is_chosen_on_training_rows(project: Project) -> None:
    evaluation = evaluate(project, TRAIN, TEST, np.array([0.1, 0.1, 0.1, 0.1], np.float32), 0.1)
    everybody, recency = evaluation.baselines
    # The best limit is 25 days on the test, but 20 days on the training rows.
    assert recency.decisions.offers_per_1000 == 750
    assert recency.decisions.saving_usd_per_1000 == (2 * 500 - 50) / 4 * 1000
    assert recency.auc == 0.75
    assert everybody.decisions.saving_usd_per_1000 == (2 * 500 - 2 * 50) / 4 * 1000
    assert evaluation.best_baseline is recency


def test_no_offers_are_the_best_baseline_for_expensive_offers(project: Project) -> None:
    costs = COSTS.model_copy(update={"needless_offer_usd": 100_000.0})
    expensive = project.model_copy(update={"requirements": project.requirements.model_copy(update={"costs": costs})})
    evaluation = evaluate(expensive, TRAIN, TEST, np.array([0.1, 0.2, 0.3, 0.4], np.float32), 0.5)
    assert evaluation.best_baseline.name == "offer to nobody"


def test_rejects_test_with_one_label(project: Project) -> None:
    with pytest.raises(EvaluationError):
        evaluate(project, TRAIN, rows([0, 0], [1, 2]), np.array([0.1, 0.2], np.float32), 0.1)


def test_finds_recency_feature_by_calculation(project: Project) -> None:
    assert recency_feature(load_project("grocery")) == "days_since_purchase"
    assert recency_feature(without_family(project, "days_since_purchase")) is None
    assert recency_feature(load_project("subscription")) == "days_since_session"


def many(count: int = 4_000, customers: int = 500) -> tuple[Rows, np.ndarray]:
    """Return rows of customers on several days, and the true probabilities of their labels."""
    random = np.random.default_rng(6)
    probabilities = random.beta(1, 6, count).astype(np.float32)
    test = rows((random.random(count) < probabilities).astype(int).tolist(), random.integers(0, 50, count).tolist())
    return replace(test, customers=pa.chunked_array([[f"c{i % customers:03d}" for i in range(count)]])), probabilities


def test_every_metric_is_within_its_interval(project: Project) -> None:
    test, probabilities = many()
    evaluation = evaluate(project, TRAIN, test, probabilities, 0.1)
    metrics = evaluation.metrics()
    assert (evaluation.rows, evaluation.customers) == (4_000, 500)
    assert {"auc", "accuracy", "precision", "recall", "f1", "saving_usd_per_1000_at_threshold"} <= set(
        evaluation.intervals
    )
    for name, ends in evaluation.intervals.items():
        assert metrics[f"{name}_low"] == ends.low < metrics[name] < ends.high == metrics[f"{name}_high"], name
    assert evaluation.intervals["observed_over_expected"].low < 1 < evaluation.intervals["observed_over_expected"].high


def test_intervals_are_reproducible(project: Project) -> None:
    test, probabilities = many(800, 100)
    first, again = (evaluate(project, TRAIN, test, probabilities, 0.1).intervals for _ in range(2))
    assert first == again


def test_resampled_metrics_equal_scikit_learn(project: Project) -> None:
    project = project.model_copy(update={"training": project.training.model_copy(update={"resamples": 100})})
    test, probabilities = many(300, 40)
    bootstrap = CustomerBootstrap(test.customers, project.training.resamples, project.training.seed)
    offered = probabilities >= 0.1
    expected = {
        "f1_at_threshold": lambda weights: f1_score(test.churned, offered, sample_weight=weights),
        "accuracy_at_threshold": lambda weights: accuracy_score(test.churned, offered, sample_weight=weights),
        "brier": lambda weights: brier_score_loss(test.churned, probabilities, sample_weight=weights),
    }
    found = evaluate(project, TRAIN, test, probabilities, 0.1).intervals
    for name, figure in expected.items():
        ends = interval(np.array([figure(weights) for weights in bootstrap.weights()]))
        assert (found[name].low, found[name].high) == pytest.approx((ends.low, ends.high)), name


def test_calibration_error_of_biased_probabilities() -> None:
    test, probabilities = many()
    calibrated = reliability(test.churned, probabilities.astype(float))
    assert sum(part.rows for part in calibrated) == len(test)
    assert {part.rows for part in calibrated} == {400}
    assert expected_calibration_error(calibrated) < 0.02
    biased = reliability(test.churned, np.minimum(1, probabilities.astype(float) + 0.1))
    assert expected_calibration_error(biased) == pytest.approx(0.1, abs=0.01)


def test_constant_probability_is_one_bin() -> None:
    (only,) = reliability(np.array([1, 0, 0, 0], np.int8), np.full(4, 0.25))
    assert (only.predicted, only.observed, only.rows) == (0.25, 0.25, 4)


def test_deciles_partition_rows_by_risk() -> None:
    churned = np.array([1] * 2 + [0] * 18, np.int8)
    found = deciles(churned, np.linspace(1, 0, 20))
    assert [tenth.number for tenth in found] == list(range(1, 11))
    assert (found[0].lift, found[0].captured, found[0].churners) == (10.0, 1.0, 2)
    assert (found[-1].lift, found[-1].captured) == (0.0, 1.0)
    assert sum(tenth.rows for tenth in deciles(churned[:7], np.arange(7.0))) == 7


def test_saving_curve_equals_decisions() -> None:
    test, probabilities = many(500)
    scores = probabilities.astype(float)
    for point in saving_curve(test.churned, scores, COSTS)[::10]:
        decisions = decide(test.churned, scores >= point.threshold, COSTS)
        assert point.saving_usd_per_1000 == pytest.approx(decisions.saving_usd_per_1000)
        assert point.offers_per_1000 == pytest.approx(decisions.offers_per_1000)
