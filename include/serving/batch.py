"""The retention list: every customer of a day, scored in one pass and ordered by risk."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import open_lake
from include.logs import get_logger
from include.results import StepResult
from include.serving.pointer import read_pointer
from include.settings import Settings
from include.training.bundle import Bundle

log = get_logger(__name__)

FEATURES = "gold/features"
SCORES = "gold/scores"


class ScoringError(ChurnflowError):
    """A day cannot be scored."""


def deployed_bundle(settings: Settings) -> Bundle:
    """Return the model that the endpoint serves.

    Raises:
        ScoringError: No model is deployed.
        BundleError: The deployed bundle is damaged.
    """
    reference = read_pointer(settings.serving_dir)
    if reference is None:
        raise ScoringError(
            "No model is deployed.", where=str(settings.serving_dir), remedy="Run churn_train and churn_deploy first."
        )
    return Bundle.load(Path(reference.path) / "src" / "bundle")


def retention_list(day: dt.date, features: pa.Table, bundle: Bundle) -> pa.Table:
    """Return the customers of ``day`` by falling churn probability; customers who tie are ordered by their id.

    Args:
        day: The day of the features.
        features: Rows of ``gold/features``: ``customer_id`` and one column for each feature of the model; others are
            ignored, so that a model keeps working when features are added.
        bundle: The model.

    Returns:
        ``dt``, ``customer_id``, ``churn_probability``, ``prediction``, ``rank`` from 1, ``model_version``.

    Raises:
        EncodingError: A feature of the model is missing or is not of its type.
    """
    contract = bundle.contract
    known = [name for name in contract.feature_names if name in features.column_names]
    probabilities = bundle.predict(features.select(known)).astype(np.float64)
    customers = features["customer_id"].cast(pa.string())
    order = np.lexsort((np.asarray(customers), -probabilities))
    ranked = probabilities[order]
    return pa.table(
        {
            "dt": pa.repeat(pa.scalar(day, pa.date32()), len(ranked)),
            "customer_id": customers.take(pa.array(order)),
            "churn_probability": ranked,
            "prediction": np.where(ranked >= contract.threshold, "churn", "retain").astype(object),
            "rank": np.arange(1, len(ranked) + 1),
            "model_version": pa.repeat(contract.model_version, len(ranked)),
        }
    )


def score_day(day: dt.date, settings: Settings) -> StepResult:
    """Score every customer of ``day`` with the deployed model and replace that day of ``gold/scores``.

    Raises:
        ScoringError: No model is deployed, or the day has no customers.
        EncodingError: ``gold/features`` lacks a feature of the model.
        LakeError: There is no ``gold/features`` yet.
    """
    start = time.perf_counter()
    bundle = deployed_bundle(settings)
    lake = open_lake(settings)
    features = lake.table(FEATURES).read(DayRange.single(day))
    if not features.num_rows:
        raise ScoringError(
            "The day has no customers.", where=f"{FEATURES}, dt={day}", remedy="Run churn_ingest for that day first."
        )
    rows = retention_list(day, features, bundle)
    version = lake.table(SCORES).replace(DayRange.single(day), rows)
    detail = {
        "model_version": bundle.contract.model_version,
        "predicted_churners": int(np.count_nonzero(np.asarray(rows["prediction"]) == "churn")),
    }
    log.info("day scored", extra={"day": str(day), "rows": rows.num_rows, **detail})
    return StepResult(
        table=SCORES,
        rows_read=features.num_rows,
        rows_refused=0,
        rows_written=rows.num_rows,
        version=version,
        seconds=time.perf_counter() - start,
        detail=detail,
    )
