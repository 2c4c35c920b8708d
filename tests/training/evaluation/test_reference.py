"""The reference profile of a model's training rows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from include.projects import Project
from include.training.data.rows import Rows
from include.training.evaluation.change import Values
from include.training.evaluation.reference import make_profile, profile_feature, snapshot_pairs
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from include.training.model.reference_profile import SCORE, CategoryProfile, NumberProfile, ReferenceProfile
from tests.training.contracts import contract_of
from tests.training.flat import flat_project
from tests.training.gold import small_project, snapshot_days

CONTRACT = contract_of(
    FeatureContract(name="days_since_purchase", dtype="number", nullable=True),
    FeatureContract(name="baskets_28d", dtype="number", nullable=False),
    FeatureContract(name="age", dtype="category", nullable=True, categories=("young", "old")),
)


def weekly_rows(days: list[dt.date], customers: int = 60) -> Rows:
    """Return rows whose label depends on the first feature only; on each day, another customer is absent."""
    rng = np.random.default_rng(1)
    present = [(day, number) for at, day in enumerate(days) for number in range(customers) if number != at]
    recency = rng.integers(0, 50, len(present)).astype(float)
    recency[::10] = np.nan
    features = pa.table(
        {
            "days_since_purchase": pa.array(recency, from_pandas=True),
            "baskets_28d": np.arange(len(present), dtype=float),
            "age": pa.array(rng.choice(["young", "old", None], len(present))),
        }
    )
    return Rows(
        days=np.array([day for day, _ in present], dtype="datetime64[D]"),
        customers=pa.chunked_array([pa.array([f"c{number:03d}" for _, number in present])]),
        features=features,
        matrix=CONTRACT.encode(features),
        churned=(np.nan_to_num(recency) > 25).astype(np.int8),
    )


def profile_of(project: Project, rows: Rows) -> ReferenceProfile:
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(rows.matrix, rows.churned), 5)
    return make_profile(project, rows, Bundle(CONTRACT, booster), np.linspace(0, 1, len(rows), dtype=np.float32))


def test_reference_is_the_latest_row_of_each_customer_in_the_last_window() -> None:
    project = small_project()
    days = snapshot_days(project, 12)
    rows = weekly_rows(days)
    profile = profile_of(project, rows)
    assert (profile.days, profile.rows) == (tuple(days[-1:]), 59)
    features = {**profile.features}
    assert list(features) == [*CONTRACT.feature_names, SCORE]
    recency, baskets, age = (features[name] for name in CONTRACT.feature_names)
    last = rows.where(rows.days == np.datetime64(days[-1]))
    assert isinstance(baskets, NumberProfile)
    assert (baskets.edges[0], baskets.edges[-1], baskets.values) == (last.matrix[:, 1].min(), len(rows) - 1, 59)
    assert baskets.mean == pytest.approx(last.matrix[:, 1].mean())
    assert recency.rows - recency.values == last.features["days_since_purchase"].null_count
    assert isinstance(age, CategoryProfile)
    assert sum(age.counts.values()) == 59 - last.features["age"].null_count

    longer = project.model_copy(update={"monitoring": project.monitoring.model_copy(update={"window_days": 8})})
    both = profile_of(longer, rows)
    assert (both.days, both.rows) == (tuple(days[-2:]), 60)
    scores = both.features[SCORE]
    assert isinstance(scores, NumberProfile)
    assert scores.edges[-1] == 1  # the row of the last day replaces that of the day before


def test_influence_is_the_share_of_the_contributions() -> None:
    project = small_project()
    found = profile_of(project, weekly_rows(snapshot_days(project, 12))).features
    shares = [found[name].influence for name in CONTRACT.feature_names]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > 0.9
    assert found[SCORE].influence == 1


def test_features_that_drift_by_construction_are_left_out() -> None:
    content = small_project().model_dump()
    for family in content["feature_families"]:
        family["drifts_by_construction"] = family["name"] == "days_since_purchase"
    project = Project.model_validate(content)
    profile = profile_of(project, weekly_rows(snapshot_days(project, 12)))
    assert profile.left_out == ("days_since_purchase",)
    assert "days_since_purchase" not in profile.features


def test_snapshot_pairs_are_as_far_apart_as_reference_and_served_days() -> None:
    project = small_project()
    days = snapshot_days(project, 45)
    pairs = snapshot_pairs(project, days)
    shortest = project.label.horizon_days
    assert len(pairs) == 60
    assert {pair[1] for pair in pairs} >= {days[-1], days[4]}
    distances = [(last - first).days for first, last in pairs]
    assert min(distances) == shortest
    assert max(distances) <= shortest + project.training.every_days + 6
    assert snapshot_pairs(project, days[:4]) == []
    assert snapshot_pairs(flat_project(), days) == []


def test_natural_variation_is_the_largest_change_between_the_pairs() -> None:
    days = [dt.date(2020, 1, day) for day in (1, 2, 3)]
    missing = dict(zip(days, (0, 10, 30), strict=True))

    def snapshot(day: dt.date) -> Values:
        return Values.of_numbers(np.concatenate([np.arange(100 - missing[day]), np.full(missing[day], np.nan)]))

    pairs = [(days[0], days[1]), (days[1], days[2])]
    profile = profile_feature(snapshot(days[0]), snapshot, pairs, influence=0.5)
    assert profile.influence == 0.5
    assert profile.natural["missing"] == pytest.approx(0.2)
    assert set(profile.natural) == {"missing", "ks", "wasserstein"}
    assert profile_feature(snapshot(days[0]), snapshot, [], influence=0.5).natural == {}
