"""A gold day of many customers and a deployed model for ``benchmarks/scoring.py``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import xgboost as xgb

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, silver_table
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract, ModelContract

DAY = dt.date(2026, 1, 1)
_SEED = 20260101
_TRAINING_ROWS = 20_000
_BATCH_ROWS = 50_000
_CATEGORIES = tuple(f"segment {letter}" for letter in "abcdefgh")


def make_world(settings: Settings, customers: int, features: int, trees: int, depth: int) -> None:
    """Write a gold day and the status of its customers into the lake, and deploy a model.

    Args:
        settings: The settings of the lake and of the deployment.
        customers: The number of customers.
        features: The number of features.
        trees: The number of trees of the model.
        depth: The depth of the trees.
    """
    schema = _rows(0, 1, features).schema
    parts = _batches(customers, features)
    lake = open_lake(settings)
    lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), pa.RecordBatchReader.from_batches(schema, parts))
    lake.table(silver_table("customers")).replace(DayRange.single(DAY), _statuses(customers))
    bento = settings.serving_dir / "bento"
    _train(features, trees, depth).save(bento / "src" / "bundle")
    state = ServingState(settings.serving_dir)
    state.commit(state.begin(BentoReference("1-benchmark", "1", str(bento), settings.project)))


def _statuses(customers: int) -> pa.Table:
    """Return the rows of the project's source of changes that the label reads: every tenth customer has churned."""
    return pa.table(
        {
            "dt": pa.repeat(pa.scalar(DAY, pa.date32()), customers),
            "customer_id": [_customer(number) for number in range(customers)],
            "status": ["active" if number % 10 else "churned" for number in range(customers)],
            "updated_at": pa.repeat(pa.scalar(dt.datetime.combine(DAY, dt.time(9)), pa.timestamp("us")), customers),
        }
    )


def customer_ids(number: int) -> list[str]:
    """Return the ids of ``number`` customers in random order."""
    return [_customer(i) for i in np.random.default_rng(_SEED).permutation(number)]


def _customer(number: int) -> str:
    return f"customer-{number:08d}"


def _batches(customers: int, features: int) -> Iterator[pa.RecordBatch]:
    for first in range(0, customers, _BATCH_ROWS):
        yield from _rows(first, min(_BATCH_ROWS, customers - first), features).to_batches()


def _rows(first: int, number: int, features: int) -> pa.Table:
    """Return customers in random order, with days, amounts, rates with nulls, counts and categories as features."""
    random = np.random.default_rng([_SEED, first])
    order = random.permutation(number) + first
    columns: dict[str, pa.Array] = {
        "dt": pa.repeat(pa.scalar(DAY, pa.date32()), number),
        "customer_id": pa.array([_customer(i) for i in order]),
    }
    for position, name in enumerate(_names(features)):
        columns[name] = _column(position, number, random)
    return pa.table(columns)


def _column(position: int, number: int, random: np.random.Generator) -> pa.Array:
    if position % 25 == 9:
        return pa.array(_CATEGORIES).take(pa.array(random.integers(0, len(_CATEGORIES), number)))
    kinds = (
        lambda: pa.array(random.integers(0, 365, number).astype(np.float64)),
        lambda: pa.array(random.gamma(2.0, 50.0, number).round(2)),
        lambda: pa.array(random.normal(size=number), mask=random.random(number) < 0.1),
        lambda: pa.array(random.poisson(3, number).astype(np.int64)),
    )
    return kinds[position % len(kinds)]()


def _names(features: int) -> list[str]:
    return [f"feature_{position:03d}" for position in range(features)]


def _train(features: int, trees: int, depth: int) -> Bundle:
    rows = _rows(0, _TRAINING_ROWS, features).drop_columns(["dt", "customer_id"])
    contract = ModelContract(
        project="subscription",
        run_id="benchmark",
        trained_through=DAY - dt.timedelta(days=30),
        label="churned",
        horizon_days=30,
        threshold=0.5,
        features=tuple(_feature(name, rows.schema.field(name).type) for name in rows.column_names),
    )
    matrix = contract.encode(rows)
    # Every feature has an effect, so that the trees have as many nodes as those of a real model.
    weights = np.random.default_rng(_SEED).normal(size=features)
    risk = np.nan_to_num((matrix - np.nanmean(matrix, axis=0)) / np.nanstd(matrix, axis=0)) @ weights
    noise = np.random.default_rng(_SEED + 1).normal(0, risk.std(), len(risk))
    booster = xgb.train(
        {"objective": "binary:logistic", "tree_method": "hist", "max_depth": depth, "eta": 0.1, "nthread": 1},
        xgb.DMatrix(matrix, label=(risk + noise > 0).astype(int)),
        num_boost_round=trees,
    )
    return Bundle(contract, booster)


def _feature(name: str, kind: pa.DataType) -> FeatureContract:
    if pa.types.is_string(kind):
        return FeatureContract(name=name, dtype="category", nullable=True, categories=_CATEGORIES)
    return FeatureContract(name=name, dtype="number", nullable=True)
