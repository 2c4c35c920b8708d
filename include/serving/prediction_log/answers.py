"""What the endpoint answered, and the record batches that the log keeps of it.

The server writes the matrix that it scored as it is, one column of fixed-size lists: naming and decoding a hundred
columns would cost more than scoring. The schema carries what a reader needs to unfold it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.serving.prediction_log import arrow_arrays
from include.training.model.contract import ModelContract

FORMAT = 1
METADATA_KEY = b"churnflow.predictions"
MATRIX = "features"


@dataclass(frozen=True)
class Answers:
    """A group of customers who were scored together. Its arrays are kept, not copied: do not write to them again.

    Attributes:
        customer_ids: The n customers.
        matrix: What the model scored, float32 of shape (n, k), features in the contract's order.
        probabilities: The churn probabilities answered, shape (n,).
        answered_at: When, in UTC.
        features_day: The day of each customer's features where they came from the online store; None, or None for a
            customer, where the caller sent them.
    """

    customer_ids: Sequence[str]
    matrix: NDArray[np.float32]
    probabilities: NDArray[np.floating]
    answered_at: dt.datetime
    features_day: Sequence[dt.date | None] | None = None

    @property
    def day(self) -> dt.date:
        """The UTC day of the answers."""
        return self.answered_at.astimezone(dt.UTC).date()


def part_schema(
    contract: ModelContract, model_version: str, shadow_version: str | None, with_features: bool
) -> pa.Schema:
    """Return the schema of a part: rows of one model, and of one shadow or none.

    Args:
        contract: The contract of the model that answers.
        model_version: Its version.
        shadow_version: The version of its shadow; None without a shadow.
        with_features: Whether the rows hold the features.
    """
    fields = [
        pa.field("answered_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("churn_probability", pa.float32(), nullable=False),
        pa.field("churn", pa.bool_(), nullable=False),
        pa.field("features_day", pa.date32()),
        pa.field("shadow_probability", pa.float32()),
        pa.field("shadow_churn", pa.bool_()),
    ]
    if with_features:
        fields.append(pa.field(MATRIX, pa.list_(pa.float32(), len(contract.features)), nullable=False))
    described = {
        "format": FORMAT,
        "project": contract.project,
        "model_version": model_version,
        "shadow_version": shadow_version,
        "features": [{"name": feature.name, "categories": feature.categories} for feature in contract.features],
    }
    return pa.schema(fields, {METADATA_KEY: json.dumps(described).encode()})


def part_batch(
    schema: pa.Schema,
    contract: ModelContract,
    groups: Sequence[Answers],
    shadow: ModelContract | None,
    shadow_probabilities: NDArray[np.float32] | None,
) -> pa.RecordBatch:
    """Return the rows of ``groups``, one after the other, under ``schema``.

    Args:
        schema: What ``part_schema`` returned for the same contracts.
        contract: The model that answered.
        groups: Its answers; at least one.
        shadow: The model that scored the same rows aside.
        shadow_probabilities: What it gave, in the same order; None when it did not score them.
    """
    sizes = [len(group.customer_ids) for group in groups]
    rows = sum(sizes)
    probabilities = np.concatenate([group.probabilities for group in groups]).astype(np.float32, copy=False)
    moments = np.array(
        [group.answered_at.astimezone(dt.UTC).replace(tzinfo=None) for group in groups], "datetime64[us]"
    )
    found = {
        "answered_at": arrow_arrays.numbers(np.repeat(moments, sizes), pa.timestamp("us", "UTC")),
        "customer_id": arrow_arrays.texts([customer for group in groups for customer in group.customer_ids]),
        "churn_probability": arrow_arrays.numbers(probabilities, pa.float32()),
        "churn": arrow_arrays.flags(contract.predicts_churn(probabilities)),
        "features_day": _days(groups, rows),
        "shadow_probability": pa.nulls(rows, pa.float32()),
        "shadow_churn": pa.nulls(rows, pa.bool_()),
    }
    if shadow is not None and shadow_probabilities is not None:
        found["shadow_probability"] = arrow_arrays.numbers(
            shadow_probabilities.astype(np.float32, copy=False), pa.float32()
        )
        found["shadow_churn"] = arrow_arrays.flags(shadow.predicts_churn(shadow_probabilities))
    if MATRIX in schema.names:
        found[MATRIX] = arrow_arrays.vectors(
            np.concatenate([group.matrix for group in groups]).astype(np.float32, copy=False)
        )
    return pa.record_batch([found[name] for name in schema.names], schema=schema)


def _days(groups: Sequence[Answers], rows: int) -> pa.Array:
    if all(group.features_day is None for group in groups):
        return pa.nulls(rows, pa.date32())
    return arrow_arrays.days(
        [day for group in groups for day in group.features_day or [None] * len(group.customer_ids)]
    )
