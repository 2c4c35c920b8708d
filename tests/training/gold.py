"""Small gold tables with a signal: customers with few purchases churn more often."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from include.days import DayRange
from include.features.definitions import mark_built, mark_labelled
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project, load_project

LAST_DAY = dt.date(2017, 12, 31)


def small_project(**training: object) -> Project:
    """Return the grocery project with eight features and a short training, for fast tests."""
    project = load_project("grocery")
    kept = {"baskets_{window}d", "days_since_purchase", "gap_days_{window}d", "age"}
    space = {"n_estimators": {"low": 10, "high": 30}}
    content = project.model_dump()
    content["feature_families"] = [family for family in content["feature_families"] if family["name"] in kept]
    shortened = {"n_trials": 3, "cv_folds": 2, "test_snapshots": 4, "segments": ("age", "gap_days_84d")}
    content["training"] |= shortened | training
    content["training"]["search_space"] |= space
    content["training"]["promotion"]["refresh_margin_auc"] = 0.05  # there are few customers
    content["requirements"]["data"] |= {"min_training_samples": 100, "min_features": 3}
    return Project.model_validate(content)


def without_family(project: Project, name: str) -> Project:
    """Return the project without one entry of its features."""
    content = project.model_dump()
    content["feature_families"] = [family for family in content["feature_families"] if family["name"] != name]
    return Project.model_validate(content)


def snapshot_days(project: Project, count: int) -> list[dt.date]:
    """Return the project's first ``count`` snapshot days."""
    start = project.first_day
    days = (start + dt.timedelta(days=i) for i in range(730))
    return [day for day in days if project.is_snapshot_day(day)][:count]


def write_gold(lake: Lake, project: Project, days: list[dt.date], customers: int, seed: int = 7) -> None:
    """Write features and labels of ``customers`` customers for each day; equal arguments give equal rows."""
    rng = np.random.default_rng(seed)
    tables = [_day(project, day, customers, rng) for day in days]
    span = DayRange(days[0], days[-1])
    lake.table(FEATURES_TABLE).replace(span, pa.concat_tables([features for features, _ in tables]))
    lake.table(LABELS_TABLE).replace(span, pa.concat_tables([labels for _, labels in tables]))
    mark_built(project, lake, dict.fromkeys(days, customers))
    mark_labelled(project, lake, days, days)


def _day(project: Project, day: dt.date, customers: int, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    pace = rng.gamma(2.0, 1.0, customers)
    recency = np.minimum(55, rng.exponential(4 + 20 / (1 + pace))).round()
    # Pace has a larger effect than recency, so that a model can beat the recency baseline.
    risk = 1 / (1 + np.exp(-(0.5 + 0.02 * recency - 2.0 * pace)))
    keys = {"dt": pa.array([day] * customers, pa.date32()), "customer_id": [f"c{i:05d}" for i in range(customers)]}
    features = {spec.name: _column(spec, pace, recency, rng) for spec in project.features}
    churned = pa.array((rng.random(customers) < risk).astype(np.int32))
    return pa.table(keys | features), pa.table(keys | {project.label.name: churned})


def _column(spec, pace, recency, rng):  # type: ignore[no-untyped-def]
    if spec.dtype == "category":
        picked = rng.integers(-1, len(spec.categories), len(pace))
        return pa.array([None if i < 0 else spec.categories[i] for i in picked], pa.string())
    if spec.name == "days_since_purchase":
        return pa.array(recency.astype(float))
    steady = spec.name.startswith("baskets")
    values = pace * rng.uniform(0.8, 1.2, len(pace)) if steady else rng.gamma(2.0, 1.0, len(pace))
    values = np.minimum(values, spec.maximum or np.inf)
    missing = rng.random(len(pace)) < (0.1 if spec.nullable else 0)
    return pa.array(values, mask=missing)
