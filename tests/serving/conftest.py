from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from filelock import FileLock

from include.serving.deployment.package import build_bento
from include.serving.deployment.state import BentoReference
from include.settings import ServingSettings, Settings
from include.training.model.bundle import Bundle, Sample
from include.training.model.contract import FeatureContract
from tests.training.contracts import contract_of

ROWS = 400
DAY = dt.date(2017, 9, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def synthetic_columns(rows: int, seed: int) -> dict[str, list[float | str | None]]:
    random = np.random.default_rng(seed)
    spend = random.gamma(2.0, 50.0, rows)
    gap = random.integers(0, 60, rows).astype(float)
    return {
        "recency_days": random.integers(0, 90, rows).astype(float).tolist(),
        "spend_30d": spend.tolist(),
        # Also the name of a method of pydantic's models.
        "copy": [None if value < 10 else float(value) for value in gap],
        "segment": random.choice(["young", "family", "senior"], rows).tolist(),
    }


def gold_rows(rows: int, day: dt.date = DAY) -> pa.Table:
    """Return the features of customers on a day, as in gold."""
    return pa.table(
        {
            "dt": pa.repeat(pa.scalar(day, pa.date32()), rows),
            "customer_id": [f"h{row:04d}" for row in range(rows)],
            **synthetic_columns(rows, seed=21),
        }
    )


def train_bundle(seed: int = 7) -> Bundle:
    contract = contract_of(
        FeatureContract(name="recency_days", dtype="number", nullable=False, minimum=0),
        FeatureContract(name="spend_30d", dtype="number", nullable=False),
        FeatureContract(name="copy", dtype="number", nullable=True),
        FeatureContract(name="segment", dtype="category", nullable=False, categories=("family", "senior", "young")),
        threshold=0.4,
    )
    columns = synthetic_columns(ROWS, seed)
    matrix = contract.encode(columns)
    churned = (matrix[:, 0] + np.random.default_rng(seed).normal(0, 15, ROWS) > 45).astype(int)
    booster = xgb.train(
        {"objective": "binary:logistic", "nthread": 1, "max_depth": 4, "seed": seed},
        xgb.DMatrix(matrix, label=churned),
        num_boost_round=20,
    )
    bundle = Bundle(contract, booster)
    probabilities = bundle.predict(columns)
    samples = tuple(
        Sample(features={name: columns[name][row] for name in columns}, churn_probability=float(probabilities[row]))
        for row in range(8)
    )
    return Bundle(contract, booster, samples)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return train_bundle()


@pytest.fixture(scope="session")
def make_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    def make(**options: object) -> Settings:
        serving = ServingSettings.model_validate({"port": free_port(), "ready_timeout_seconds": 300} | options)
        return Settings(home=tmp_path_factory.mktemp("home"), project="synthetic", serving=serving)

    return make


@pytest.fixture(scope="session")
def bento_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving") / "synthetic"


@pytest.fixture(scope="session")
def bento(bundle: Bundle, bento_home: Path, tmp_path_factory: pytest.TempPathFactory) -> BentoReference:
    """The Bento of ``bundle``, which the first of all test processes builds."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-bento" / "synthetic"
    shared.parent.mkdir(exist_ok=True)
    with FileLock(f"{shared}.lock"):
        build_bento(bundle, "7", shared)
    shutil.copytree(shared, bento_home, dirs_exist_ok=True)
    return build_bento(bundle, "7", bento_home)
