"""The model of ``benchmarks/serving.py``, as a bundle and in MLflow's format."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.xgboost
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_classification
from xgboost import XGBClassifier

from include.training.model.bundle import Bundle, Sample
from include.training.model.contract import FeatureContract, ModelContract

SEED = 20230101
FEATURES = 100
TREES = 300
DEPTH = 6
NAMES = [f"feature_{number:03d}" for number in range(FEATURES)]
_TRAINING_ROWS = 20_000
_CUSTOMERS = 256


@dataclass(frozen=True)
class Model:
    """A model in two formats, and the customers whose features the requests contain.

    Attributes:
        bundle: The product's format.
        customers: Features of customers outside the training set, shape (n, number of features).
        mlflow_uri: The same booster, saved by ``mlflow.xgboost``.
    """

    bundle: Bundle
    customers: NDArray[np.float32]
    mlflow_uri: str

    def bodies(self) -> list[bytes]:
        """Return one body of ``POST /predict`` for each customer."""
        return [_json({"customer_id": f"customer-{i}", "features": row}) for i, row in enumerate(self.rows())]

    def rows(self) -> list[dict[str, float]]:
        """Return the customers as mappings of feature names to values."""
        return [dict(zip(NAMES, row, strict=True)) for row in self.customers.astype(float).round(4).tolist()]

    def probabilities(self) -> NDArray[np.float32]:
        """Return the churn probability of each customer, shape (n,)."""
        return self.bundle.predict({name: [row[name] for row in self.rows()] for name in NAMES})


def train_model(folder: Path, trees: int = TREES) -> Model:
    """Train the model, and save it in MLflow's format below ``folder``.

    Args:
        folder: An existing folder.
        trees: The number of trees.
    """
    features, churned = make_classification(
        n_samples=_TRAINING_ROWS + _CUSTOMERS,
        n_features=FEATURES,
        n_informative=25,
        weights=[0.8],
        flip_y=0.08,
        random_state=SEED,
    )
    matrix = features.astype(np.float32)
    classifier = XGBClassifier(n_estimators=trees, max_depth=DEPTH, learning_rate=0.1, n_jobs=1, random_state=SEED)
    classifier.fit(matrix[_CUSTOMERS:], churned[_CUSTOMERS:])
    classifier.get_booster().feature_names = NAMES
    mlflow.xgboost.save_model(classifier, folder / "mlflow-model")
    bundle = Bundle(_contract(), classifier.get_booster())
    model = Model(bundle, matrix[:_CUSTOMERS], str(folder / "mlflow-model"))
    recorded = zip(model.rows()[:8], model.probabilities()[:8].tolist(), strict=True)
    samples = tuple(Sample(features={**row}, churn_probability=probability) for row, probability in recorded)
    return Model(Bundle(_contract(), classifier.get_booster(), samples), model.customers, model.mlflow_uri)


def _contract() -> ModelContract:
    return ModelContract(
        project="benchmark",
        run_id="benchmark",
        trained_through=dt.date(2023, 1, 1),
        label="churned",
        horizon_days=28,
        threshold=0.5,
        features=tuple(FeatureContract(name=name, dtype="number", nullable=True) for name in NAMES),
    )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
