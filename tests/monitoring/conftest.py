from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from include.serving.deployment.state import BentoReference
from include.settings import Settings
from include.training.data.rows import Rows
from include.training.evaluation.reference import make_profile
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract, MetricValue, RecipeEvaluation
from tests.serving.servers import record_deployment
from tests.training.contracts import contract_of
from tests.training.gold import small_project, snapshot_days, write_gold

CUSTOMERS = 400
TEST_AUC = 0.8


@dataclass
class Production:
    """A small lake with a deployed model and without scores."""

    settings: Settings
    project: Project
    lake: Lake
    bundle: Bundle
    days: list[dt.date]


@pytest.fixture
def production(tmp_path: Path) -> Production:
    content = small_project().model_dump()
    content["training"]["resamples"] = 100
    content["monitoring"] |= {"sample_rows": 200, "min_churners": 20, "drift": {"exceeded_days": 1, "of_days": 1}}
    content["monitoring"]["retrain_cooldown_days"] = 14
    project = Project.model_validate(content)
    settings = Settings(home=tmp_path, project=project.name)
    lake, days = open_lake(settings), snapshot_days(project, 24)
    write_gold(lake, project, days, CUSTOMERS)
    bundle = _train(project, lake, days[:4])
    bundle.save(tmp_path / "bento" / "src" / "bundle")
    record_deployment(settings.serving_dir, BentoReference("churn:1", "1", str(tmp_path / "bento"), project.name))
    return Production(settings, project, lake, bundle, days)


def _train(project: Project, lake: Lake, days: list[dt.date]) -> Bundle:
    contract = contract_of(
        *(
            FeatureContract(
                name=spec.name,
                dtype=spec.dtype,
                nullable=spec.nullable,
                categories=tuple(spec.categories) or None,
            )
            for spec in project.features
        ),
        project=project.name,
        trained_through=days[-1],
        label=project.label.name,
        horizon_days=project.label.horizon_days,
        evaluation=RecipeEvaluation(
            trained_through=days[0],
            first_day=days[-2],
            last_day=days[-1],
            metrics={"auc": MetricValue(TEST_AUC, TEST_AUC - 0.03, TEST_AUC + 0.03)},
            estimate_errors=dict.fromkeys(("auc", "precision", "recall", "observed_churn"), 0.01)
            | {"saving_usd_per_1000": 500.0},
        ),
    )
    keys = ["dt", "customer_id"]
    table = lake.table(FEATURES_TABLE).read(days).join(lake.table(LABELS_TABLE).read(days), keys, join_type="inner")
    features = table.select(contract.feature_names)
    rows = Rows(
        days=table["dt"].to_numpy().astype("datetime64[D]"),
        customers=table["customer_id"],
        features=features,
        matrix=contract.encode(features),
        churned=table[project.label.name].to_numpy().astype(np.int8),
    )
    data = xgb.DMatrix(rows.matrix, rows.churned)
    bundle = Bundle(contract, xgb.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, data, 20))
    profile = make_profile(project, rows, bundle, bundle.predict_matrix(rows.matrix))
    return replace(bundle, profile=profile.model_dump_json().encode())


def shift(production: Production, day: dt.date, feature: str, by: float) -> None:
    """Shift one feature of a day in gold."""
    table = production.lake.table(FEATURES_TABLE)
    rows = table.read([day])
    moved = pa.array(np.asarray(rows[feature]) + by)
    table.replace(DayRange.single(day), rows.set_column(rows.schema.get_field_index(feature), feature, moved))
