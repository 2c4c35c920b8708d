from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.projects import Project, load_project
from include.training.evaluation import EvaluationError, decide, evaluate, recency_feature
from include.training.rows import Rows
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


def test_money_is_counted_against_offering_to_nobody() -> None:
    decided = decide(np.array([1, 1, 0, 0], np.int8), np.array([True, False, True, False]), COSTS)
    assert decided.saving_usd_per_1000 == (500 - 50) / 4 * 1000
    assert (decided.precision, decided.recall, decided.accuracy) == (0.5, 0.5, 0.5)
    assert decided.offers_per_1000 == 500


def test_no_offer_saves_nothing() -> None:
    decided = decide(np.array([1, 0], np.int8), np.array([False, False]), COSTS)
    assert (decided.saving_usd_per_1000, decided.precision, decided.f1) == (0, 0, 0)


def test_a_perfect_model(project: Project) -> None:
    judged = evaluate(project, TRAIN, TEST, np.array([0.0, 0.05, 0.9, 1.0], np.float32), COSTS.threshold)
    assert (judged.auc, judged.pr_auc) == (1.0, 1.0)
    assert judged.at_threshold.saving_usd_per_1000 == 2 * 500 / 4 * 1000
    assert judged.metrics()["accuracy"] == 1.0


def test_both_thresholds_are_reported(project: Project) -> None:
    metrics = evaluate(project, TRAIN, TEST, np.array([0.0, 0.2, 0.3, 0.6], np.float32), 0.1).metrics()
    assert metrics["recall"] == 0.5
    assert metrics["recall_at_threshold"] == 1.0
    assert metrics["precision_at_threshold"] == pytest.approx(2 / 3)


def test_the_recency_limit_is_chosen_on_the_training_rows(project: Project) -> None:
    judged = evaluate(project, TRAIN, TEST, np.array([0.1, 0.1, 0.1, 0.1], np.float32), 0.1)
    everybody, recency = judged.rules
    # On the test, 25 days would be the better limit; on the training rows it is 20.
    assert recency.decisions.offers_per_1000 == 750
    assert recency.decisions.saving_usd_per_1000 == (2 * 500 - 50) / 4 * 1000
    assert recency.auc == 0.75
    assert everybody.decisions.saving_usd_per_1000 == (2 * 500 - 2 * 50) / 4 * 1000
    assert judged.best_rule is recency


def test_to_offer_to_nobody_is_the_best_rule_where_churn_is_rare(project: Project) -> None:
    costs = COSTS.model_copy(update={"needless_offer_usd": 100_000.0})
    dear = project.model_copy(update={"requirements": project.requirements.model_copy(update={"costs": costs})})
    judged = evaluate(dear, TRAIN, TEST, np.array([0.1, 0.2, 0.3, 0.4], np.float32), 0.5)
    assert judged.best_rule.name == "offer to nobody"


def test_one_label_only_cannot_judge(project: Project) -> None:
    with pytest.raises(EvaluationError):
        evaluate(project, TRAIN, rows([0, 0], [1, 2]), np.array([0.1, 0.2], np.float32), 0.1)


def test_the_recency_feature_is_found_by_what_it_calculates(project: Project) -> None:
    assert recency_feature(load_project("grocery")) == "days_since_purchase"
    assert recency_feature(without_family(project, "days_since_purchase")) is None
    assert recency_feature(load_project("subscription")) == "days_since_session"
