"""The subscription project from landing files to gold and labels, against the simulated truth."""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.days import DayRange
from include.features.gold import build_gold
from include.features.labels import build_labels
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project, load_project
from simulator import World, generate, read_outcomes
from simulator.customers import METHODS, PLANS
from simulator.generate import LANDING, STATE, TRUTH
from simulator.hazard import observe
from simulator.state import open_state
from tests.world import ingest

pytestmark = pytest.mark.slow

PROJECT = load_project("subscription")


@dataclass(frozen=True)
class Built:
    out: Path
    world: World
    days: DayRange
    gold: pd.DataFrame
    labels: pd.DataFrame
    refused: int


def build(out: Path, project: Project, world: World, days: DayRange) -> Built:
    lake = Lake(str(out / "lake"))
    ingest(project, lake, out / LANDING, days, out / "reports")
    result = build_gold(project, lake, days, out / "reports")
    build_labels(project, lake, days)
    labels = lake.table(LABELS_TABLE)
    return Built(
        out,
        world,
        days,
        lake.table(FEATURES_TABLE).read(days).to_pandas(),
        labels.read(days).to_pandas() if labels.exists() else pd.DataFrame(),
        result.rows_refused,
    )


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A world of 80 days with snapshots from day 35, so that some labels have matured."""
    out = tmp_path_factory.mktemp("quarter")
    project = PROJECT.model_copy(
        update={"snapshots": PROJECT.snapshots.model_copy(update={"warm_up_days": 35})}  # type: ignore[union-attr]
    )
    world = World(customers=700, first_day=PROJECT.first_day, seed=4, pace_days=80)
    days = DayRange(world.first_day, world.first_day + dt.timedelta(days=79))
    generate(out, world, days.last)
    return build(out, project, world, days)


def test_1000_customers_give_1000_rows_and_a_tenure_of_a_year_is_365_days(tmp_path: Path) -> None:
    today = dt.date(2024, 1, 1)
    world = World(customers=1_000, first_day=today, seed=1, pace_days=1)
    generate(tmp_path, world, today)
    path = tmp_path / LANDING / "customers" / f"{today}.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    rows[500]["signup_date"] = "2023-01-01"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    built = build(tmp_path, PROJECT, world, DayRange.single(today))
    gold = built.gold.set_index("customer_id")
    assert len(gold) == len(rows) == 1_000
    assert gold.index.is_unique
    assert 80 <= len(gold.columns) - 1 <= 120
    assert built.refused == 0
    assert gold.loc[rows[500]["customer_id"], "customer_tenure_days"] == 365
    signed_up = pd.to_datetime(pd.Series({row["customer_id"]: row["signup_date"] for row in rows}))
    tenure = (pd.Timestamp(today) - signed_up).dt.days
    assert (gold["customer_tenure_days"] == tenure.reindex(gold.index)).all()


def test_all_rows_pass_validation(quarter: Built) -> None:
    assert quarter.refused == 0
    assert list(quarter.gold.columns) == ["dt", "customer_id", *(spec.name for spec in PROJECT.features)]


def test_rows_and_labels_equal_the_simulated_truth(quarter: Built) -> None:
    outcomes = read_outcomes(quarter.out / LANDING, quarter.out / TRUTH).to_pandas()
    outcomes["customer_id"] = outcomes["customer_id"].astype(str)
    matured = sorted(quarter.labels["dt"].unique())
    assert len(matured) >= 2
    expected = outcomes[outcomes["dt"].isin(matured)].set_index(["dt", "customer_id"])["churned"].astype(int)
    labels = quarter.labels.set_index(["dt", "customer_id"])["churned"].astype(int)
    pd.testing.assert_series_equal(labels.sort_index(), expected.sort_index(), check_names=False)
    truth = pd.read_parquet(quarter.out / TRUTH / f"{quarter.days.last}.parquet")
    rows = quarter.gold[quarter.gold["dt"] == quarter.days.last]
    assert sorted(rows["customer_id"]) == sorted(truth["customer_id"].astype(str))


def test_features_contain_every_cause_of_churn(quarter: Built) -> None:
    customers = open_state(quarter.out / STATE, quarter.world, ()).simulation.customers
    seen = observe(customers, quarter.days.last)
    rows = quarter.gold[quarter.gold["dt"] == quarter.days.last].set_index("customer_id")
    rows = rows.loc[customers.customer_id.astype(str)]
    for feature, values in {
        "sessions_7d": seen.sessions_7d,
        "sessions_30d": seen.sessions_30d,
        "account_visits_14d": seen.account_visits_14d,
        "failed_payments_30d": seen.failed_payments_30d,
        "complaints_30d": seen.complaints_30d,
        "customer_tenure_days": seen.tenure,
        "age": seen.age,
        "plan": np.array(PLANS)[seen.plan],
        "payment_method": np.array(METHODS)[seen.method],
    }.items():
        assert (rows[feature].to_numpy() == values).all(), feature
    used = rows["days_since_session"].notna() & (rows["sessions_60d"] > 0)
    assert (rows["days_since_session"] == seen.days_since_session)[used].all()
