from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from simulator import Injection, World, generate, read_outcomes
from simulator.generate import LANDING, TRUTH
from tests.simulator.worlds import FIRST, LAST, day, read

pytestmark = pytest.mark.slow  # worlds of some hundred customers


def outcomes(out: Path, first: int = 60) -> pd.DataFrame:
    rows = read_outcomes(out / LANDING, out / TRUTH).to_pandas()
    return rows[rows["dt"] >= day(first)]


def deviations(rows: pd.DataFrame) -> np.ndarray:
    """Return the deviation of observed from expected churn in standard errors, per probability quintile.

    Close snapshots of a customer have the same outcome, so only snapshots 5 weeks apart are used.
    """
    apart = rows[rows["dt"].isin(sorted(rows["dt"].unique())[::5])]
    fifths = apart.groupby(pd.qcut(apart["probability"], 5), observed=True)
    variance = fifths["probability"].apply(lambda p: (p * (1 - p)).sum())
    return ((fifths["churned"].sum() - fifths["probability"].sum()) / np.sqrt(variance)).to_numpy()


def test_probabilities_are_calibrated(small: Path) -> None:
    assert np.abs(deviations(outcomes(small))).max() < 4


def test_optimal_auc_and_churn_rate_are_realistic(small: Path) -> None:
    rows = outcomes(small)
    assert 0.78 < roc_auc_score(rows["churned"], rows["probability"]) < 0.88
    assert 0.15 < rows["churned"].mean() < 0.22


def test_churned_customers_have_no_activity(small: Path) -> None:
    customers = read(small, "customers")
    left = customers[customers["status"] == "churned"].set_index("customer_id")["updated_at"].dt.normalize()
    assert not left.index.duplicated().any()
    sessions = read(small, "sessions")
    at = sessions["customer_id"].map(left)
    assert not (sessions["started_at"] >= at).any()
    active = pd.read_parquet(small / TRUTH / f"{LAST}.parquet")["customer_id"]
    known = customers.drop_duplicates("customer_id", keep="last")
    assert set(active) == set(known[known["status"] == "active"]["customer_id"])


def test_behaviour_predicts_churn(small: Path) -> None:
    rows = outcomes(small)
    snapshot = sorted(rows["dt"].unique())[8]
    rows = rows[rows["dt"] == snapshot].set_index("customer_id")
    sessions = read(small, "sessions")
    until = pd.Timestamp(snapshot) + pd.Timedelta(days=1)
    window = sessions[(sessions["started_at"] < until) & (sessions["started_at"] >= until - pd.Timedelta(days=30))]
    used = window.groupby("customer_id").size().reindex(rows.index, fill_value=0)
    assert used.corr(rows["probability"], method="spearman") < -0.4
    payments = read(small, "transactions")
    recent = (payments["paid_at"] < until) & (payments["paid_at"] >= until - pd.Timedelta(days=30))
    failed = rows.index.isin(payments[recent & (payments["status"] == "failed")]["customer_id"])
    assert rows["probability"][failed].mean() > 1.5 * rows["probability"][~failed].mean()


def test_usage_is_weekly_and_differs_between_customers(small: Path) -> None:
    sessions = read(small, "sessions")
    by_weekday = sessions.groupby(sessions["started_at"].dt.weekday).size()
    assert by_weekday.loc[[5, 6]].min() > 1.2 * by_weekday.loc[[0, 1]].max()
    counts = sessions.groupby("customer_id").size()
    assert counts.quantile(0.9) > 5 * counts.quantile(0.1)


def test_changed_concept_changes_churn_and_stays_calibrated(tmp_path: Path, small: Path) -> None:
    world = World(customers=2_500, first_day=FIRST, seed=11, pace_days=150)
    generate(tmp_path, world, day(149), (Injection(kind="changed_concept", from_day=day(40), strength=1),))
    rows = outcomes(tmp_path, first=70)
    assert np.abs(deviations(rows)).max() < 4
    customers = read(tmp_path, "customers").drop_duplicates("customer_id").set_index("customer_id")
    before = read(small, "customers").drop_duplicates("customer_id").set_index("customer_id")

    def of_plan(rows: pd.DataFrame, customers: pd.DataFrame) -> float:
        mean = rows.groupby(rows["customer_id"].map(customers["plan"]))["probability"].mean()
        return float(mean["basic"] / mean["premium"])

    assert of_plan(rows, customers) > 1.2 * of_plan(outcomes(small), before)


def test_covariate_shift_stays_calibrated(tmp_path: Path) -> None:
    world = World(customers=2_000, first_day=FIRST, seed=2, pace_days=150)
    generate(tmp_path, world, day(149), (Injection(kind="covariate_shift", from_day=day(50), strength=0.8),))
    assert np.abs(deviations(outcomes(tmp_path))).max() < 4
