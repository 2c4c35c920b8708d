"""The retention list: the customers of a day who may still churn, scored in slices and ordered by churn risk.

The customers at the top of the list get reasons.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.known_churners import known_churners
from include.features.point_in_time import CUSTOMER_ID
from include.lake import Lake, StepResult, open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.logs import get_logger
from include.projects import Project, load_project
from include.serving.deployment.bento_store import load_model
from include.serving.deployment.state import BentoReference, open_state
from include.settings import Settings
from include.training.lineage import record_model_read
from include.training.model.bundle import Bundle
from include.training.model.explain import Reason, explain

log = get_logger(__name__)

_SLICE_ROWS = 100_000


class ScoringError(ChurnflowError):
    """A day cannot be scored."""


def deployed_bento(settings: Settings) -> BentoReference:
    """Return the Bento that the endpoint serves.

    Raises:
        ScoringError: No model is deployed.
        ServingStateError: The serving state cannot be read.
    """
    reference = open_state(settings).served()
    if reference is None:
        raise ScoringError(
            "No model is deployed.", where=str(settings.serving_dir), remedy="Run churn_train and churn_deploy first."
        )
    return reference


def newest_list(settings: Settings) -> dt.date | None:
    """Return the day of the newest retention list; None before the first."""
    return max(open_lake(settings).table(SCORES_TABLE).days(), default=None)


def retention_list(
    day: dt.date, features: pa.Table | pa.RecordBatchReader, bundle: Bundle, model_version: str, reasons_for: int
) -> pa.Table:
    """Return the customers of ``day`` by decreasing churn probability, and by id for equal probabilities.

    The features are scored slice by slice, and only the scores are kept in memory.

    Args:
        day: The day of the features.
        features: Rows of ``gold/features``: ``customer_id`` and one column per feature of the model. Other columns
            are ignored, so that features can be added while a model is deployed.
        bundle: The model.
        model_version: The version of the model.
        reasons_for: The number of customers at the top who get reasons.

    Returns:
        ``dt``, ``customer_id``, ``churn_probability``, ``prediction``, ``rank`` from 1, ``model_version``, and the
        texts ``raises_risk`` and ``lowers_risk``: reasons in words, strongest first; null below the top.

    Raises:
        EncodingError: A feature of the model is missing or has another type.
    """
    contract = bundle.contract
    slices = _scored_slices(features, bundle, reasons_for)
    customers = pa.chunked_array([one.customers for one in slices], pa.string())
    probabilities = np.concatenate([one.probabilities for one in slices] or [np.empty(0)])
    order = _order(customers, probabilities)
    ranked = probabilities[order]
    explained = explain(bundle, _top_rows(slices, order[:reasons_for], len(contract.features)))
    return pa.table(
        {
            "dt": pa.repeat(pa.scalar(day, pa.date32()), len(ranked)),
            "customer_id": customers.take(pa.array(order)),
            "churn_probability": ranked,
            "prediction": pc.if_else(pa.array(contract.predicts_churn(ranked)), "churn", "retain"),
            "rank": np.arange(1, len(ranked) + 1),
            "model_version": pa.repeat(model_version, len(ranked)),
            "raises_risk": _texts([one.raises for one in explained], len(ranked)),
            "lowers_risk": _texts([one.lowers for one in explained], len(ranked)),
        }
    )


@dataclass(frozen=True)
class _Slice:
    """The scores of some customers of a day.

    Attributes:
        customers: The customer ids.
        probabilities: The churn probabilities, shape (n,).
        top: The increasing positions, in the slice, of the customers who may be at the top of the list.
        matrix: The encoded features of those customers, shape (len(top), k).
    """

    customers: pa.Array
    probabilities: NDArray[np.float64]
    top: NDArray[np.int64]
    matrix: NDArray[np.float32]


def _scored_slices(features: pa.Table | pa.RecordBatchReader, bundle: Bundle, top: int) -> list[_Slice]:
    batches = iter(features if isinstance(features, pa.RecordBatchReader) else features.to_batches(_SLICE_ROWS))
    # macOS has no sched_getaffinity.
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    scored: list[_Slice] = []
    with ThreadPoolExecutor(threads) as pool:
        # pool.map reads all of its input first, so it gets only as many slices at a time as there are threads.
        while some := list(islice(batches, threads)):
            scored += pool.map(lambda batch: _score_slice(batch, bundle, top), some)
    return scored


def _score_slice(rows: pa.RecordBatch, bundle: Bundle, top: int) -> _Slice:
    known = [name for name in bundle.contract.feature_names if name in rows.schema.names]
    matrix = bundle.contract.encode(rows.select(known))
    probabilities = bundle.predict_matrix(matrix).astype(np.float64)
    customers = rows["customer_id"].cast(pa.string())
    candidates = np.sort(_order(customers, probabilities)[:top])
    return _Slice(customers, probabilities, candidates, matrix[candidates])


def _order(customers: pa.Array | pa.ChunkedArray, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of customers by decreasing probability, then by id."""
    keys = [("probability", "descending"), ("customer", "ascending")]
    table = pa.table({"probability": probabilities, "customer": customers})
    return np.asarray(pc.sort_indices(table, sort_keys=keys)).astype(np.int64)


def _top_rows(slices: Sequence[_Slice], positions: NDArray[np.int64], features: int) -> NDArray[np.float32]:
    """Return the encoded features of the customers at ``positions`` in all slices, shape (len(positions), k)."""
    starts = np.cumsum([0, *(len(one.probabilities) for one in slices)])
    kept = [start + one.top for start, one in zip(starts[:-1], slices, strict=True)]
    if not kept:
        return np.empty((0, features), dtype=np.float32)
    found = np.searchsorted(np.concatenate(kept), positions)
    return np.concatenate([one.matrix for one in slices])[found]


def _texts(reasons: Sequence[Sequence[Reason]], rows: int) -> pa.Array:
    texts = ["; ".join(reason.text for reason in row) for row in reasons]
    return pa.array(texts + [None] * (rows - len(texts)), pa.string())


def score_day(day: dt.date, settings: Settings) -> StepResult:
    """Score the customers of ``day`` with the deployed model, and replace that day of ``gold/scores``.

    Customers who are known to have churned at the end of the day are left out (``known_churners``).

    Args:
        day: A day of ``gold/features``.
        settings: The project, the lake, the deployed model and the number of customers with reasons.

    Returns:
        The result; ``detail`` contains the number of ``known_churners``, which were left out.

    Raises:
        ScoringError: No model is deployed, or the day has no customers who may still churn.
        BundleError: The deployed bundle is damaged.
        EncodingError: ``gold/features`` lacks a feature of the model.
        LakeError: There is no ``gold/features`` yet.
        ProjectError: The project's configuration is invalid.
    """
    start = time.perf_counter()
    deployed = deployed_bento(settings)
    lake = open_lake(settings)
    table = lake.table(FEATURES_TABLE)
    read = table.row_counts([day]).get(day, 0)
    features = _without_known_churners(load_project(settings.project), lake, day)
    bundle = load_model(deployed, settings)
    record_model_read(settings, deployed.model_version, bundle.contract)
    rows = retention_list(day, features, bundle, deployed.model_version, settings.serving.reasons_for)
    if not rows.num_rows:
        raise ScoringError(
            "All customers of the day are known to have churned." if read else "The day has no customers.",
            where=f"{FEATURES_TABLE}, dt={day}",
            remedy="Check the value in label.yaml." if read else "Run churn_ingest for that day first.",
        )
    version = lake.table(SCORES_TABLE).replace(DayRange.single(day), rows)
    detail = {
        "model_version": deployed.model_version,
        "predicted_churners": int(pc.sum(pc.equal(rows["prediction"], "churn")).as_py()),
        "known_churners": read - rows.num_rows,
    }
    log.info("day scored", extra={"day": str(day), "rows": rows.num_rows, **detail})
    return StepResult(
        table=SCORES_TABLE,
        rows_read=read,
        rows_refused=0,
        rows_written=rows.num_rows,
        version=version,
        seconds=time.perf_counter() - start,
        detail=detail,
    )


def _without_known_churners(project: Project, lake: Lake, day: dt.date) -> pa.RecordBatchReader:
    table, engine = lake.table(FEATURES_TABLE), lake.connect()
    churned = known_churners(project, lake, engine, [day])
    if churned is None or not table.files([day]):
        return table.stream([day])
    # A stream cannot read the in-memory table of days that known_churners joins.
    known = engine.create_table("known_churners", churned.select(CUSTOMER_ID), temp=True)
    return engine.stream(table.scan(engine, [day]).anti_join(known, [CUSTOMER_ID]))
