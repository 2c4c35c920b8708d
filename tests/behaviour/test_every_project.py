"""Requirements on the model of every project: better than the baselines, and equal predictions for equal customers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.quality import logistic_probabilities
from include.projects import project_names
from include.retention.retention_list import retention_list
from include.training.evaluation.baselines import recency_feature
from tests.behaviour.baselines import advantage, recency
from tests.behaviour.worlds import DATA, Trained

SIGNIFICANTLY_ABOVE_LOGISTIC = {"subscription"}
"""Projects with enough churners in the test to distinguish the model from a logistic regression."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # includes the generation of the data


def test_model_beats_recency(trained: Trained) -> None:
    feature = recency_feature(trained.project)
    if feature is None:
        pytest.skip("no feature of the project counts the days since the last event")
    over = advantage(trained.test, trained.candidate.probabilities, recency(trained.test, feature))
    print(f"{trained.project.name} over recency: {over}")
    assert over.auc_interval.low > 0
    assert over.pr_auc_interval.low > 0


def test_model_is_not_worse_than_logistic_regression(trained: Trained) -> None:
    """With few churners the differences are uncertain; with enough, both confidence intervals lie above zero."""
    linear = logistic_probabilities(trained.project, trained.train, trained.test)
    over = advantage(trained.test, trained.candidate.probabilities, linear)
    print(f"{trained.project.name} over logistic regression: {over}")
    assert over.auc > 0
    assert over.auc_interval.low > -0.01
    assert over.pr_auc > -0.01
    assert over.pr_auc_interval.low > -0.03
    if trained.project.name in SIGNIFICANTLY_ABOVE_LOGISTIC:
        assert over.auc_interval.low > 0
        assert over.pr_auc_interval.low > 0


def test_data_exists_only_for_existing_projects() -> None:
    assert set(DATA) <= set(project_names())


def noisy(trained: Trained, share: float) -> NDArray[np.float32]:
    """Return the test matrix with normal noise of ``share`` standard deviations on each numeric feature."""
    matrix = trained.test.matrix
    numbers = np.array([feature.dtype == "number" for feature in trained.bundle.contract.features])
    noise = np.random.default_rng(1).standard_normal(matrix.shape) * np.nanstd(matrix, axis=0) * numbers * share
    return matrix + noise.astype(np.float32)


def test_small_noise_changes_probabilities_little(trained: Trained) -> None:
    """The output of a tree changes at its thresholds, so some rows always change; many do so in an unstable model.

    With thresholds exactly on integer counts, noise of 0.001 changed the mean by 0.01 and the 99th percentile by 0.1.
    """
    moved = trained.bundle.predict_matrix(noisy(trained, 1e-3))
    change = np.abs(moved - trained.candidate.probabilities)
    rank = spearmanr(moved, trained.candidate.probabilities).statistic
    print(f"{trained.project.name}: mean {change.mean():.5f}, p99 {np.quantile(change, 0.99):.4f}, rank {rank:.5f}")
    assert change.mean() < 0.002
    assert np.quantile(change, 0.99) < 0.03
    assert rank > 0.999


def test_rounding_errors_change_no_probability(trained: Trained) -> None:
    change = np.abs(trained.bundle.predict_matrix(noisy(trained, 1e-6)) - trained.candidate.probabilities)
    print(f"{trained.project.name}: mean {change.mean():.7f}, moved by .001: {(change > 0.001).mean():.5f}")
    assert (change > 0.001).mean() < 0.001


@pytest.mark.parametrize("size", [1, 64])
def test_probability_does_not_depend_on_batch_size_or_order(trained: Trained, size: int) -> None:
    rng = np.random.default_rng(size)
    rows = rng.integers(len(trained.test), size=400)
    rows = np.concatenate([rows, rows[:100]])
    batches = [trained.test.features.take(rows[start : start + size]) for start in range(0, len(rows), size)]
    answers = np.concatenate([trained.bundle.predict(batch) for batch in batches])
    assert np.array_equal(answers, trained.candidate.probabilities[rows])


def test_duplicate_customers_have_adjacent_ranks(trained: Trained) -> None:
    newest = trained.test.days.max()
    rows = np.flatnonzero(trained.test.days == newest)

    def listed(rows: NDArray[np.int64]) -> pd.DataFrame:
        customers = trained.test.customers.take(rows)
        features = trained.test.features.take(rows).append_column("customer_id", customers)
        return retention_list(newest.astype(object), features, trained.bundle, "1", reasons_for=5).to_pandas()

    twice = listed(np.random.default_rng(1).permutation(np.concatenate([rows, rows[:50]])))
    assert twice.groupby("customer_id")["rank"].agg(np.ptp).max() == 1
    columns = ["customer_id", "churn_probability", "prediction"]
    once = twice.drop_duplicates("customer_id").reset_index(drop=True)
    assert once[columns].equals(listed(rows)[columns])
