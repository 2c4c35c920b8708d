"""Predictions of the endpoint, and the Arrow columns in which they are logged.

The columns are built from NumPy buffers and not with ``pyarrow.array``, which tries to import pandas on its first call.
The import would delay requests by a second.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.serving.prediction_log.shadow import Shadow
from include.training.model.contract import ModelContract

SEGMENT_COLUMNS: dict[str, pa.DataType] = {
    "answered_at": pa.timestamp("us", "UTC"),
    "customer_id": pa.string(),
    "model_version": pa.string(),
    "churn_probability": pa.float32(),
    "prediction": pa.string(),
    "features_day": pa.date32(),
    "shadow_version": pa.string(),
    "shadow_probability": pa.float32(),
    "shadow_prediction": pa.string(),
}
"""The columns of a segment before those of the features, ``number_<name>`` and ``category_<name>``."""

_DECISIONS = ("retain", "churn")
_EPOCH = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Predictions:
    """The predictions for customers who were scored together.

    The arrays are not copied; do not change them afterwards.

    Attributes:
        customer_ids: The ids of n customers.
        matrix: The model's input, float32 of shape (n, k), features in the contract's order.
        probabilities: The churn probabilities, shape (n,).
        answered_at: The time of the answer, with a time zone.
        features_day: The day of each customer's features in the online store, and None for a customer with features
            from the request; None if all features are from requests.
    """

    customer_ids: Sequence[str]
    matrix: NDArray[np.float32]
    probabilities: NDArray[np.floating]
    answered_at: dt.datetime
    features_day: Sequence[dt.date | None] | None = None

    @property
    def day(self) -> dt.date:
        """The UTC day of the answer."""
        return self.answered_at.astimezone(dt.UTC).date()


def feature_columns(contract: ModelContract) -> list[str]:
    """Return the logged columns of a model's features.

    Numbers and categories have different prefixes, so that the type of a feature may change with a later model.
    """
    return [f"{'number' if feature.categories is None else 'category'}_{feature.name}" for feature in contract.features]


def segment_rows(
    contract: ModelContract,
    model_version: str,
    groups: Sequence[Predictions],
    shadow: Shadow | None = None,
    shadow_probabilities: NDArray[np.float32] | None = None,
    with_features: bool = True,
) -> pa.RecordBatch:
    """Return the rows of a segment: ``SEGMENT_COLUMNS``, then one column per feature.

    A missing number is NaN and not null, which is faster to write.

    Args:
        contract: The contract of the model that answered.
        model_version: The version of that model.
        groups: The predictions of that model; at least one group.
        shadow: The shadow.
        shadow_probabilities: The shadow's probabilities for all rows of ``groups``, shape (n,); None without scores.
        with_features: Whether the features are logged.
    """
    sizes = [len(group.customer_ids) for group in groups]
    rows = sum(sizes)
    probabilities = np.concatenate([group.probabilities for group in groups]).astype(np.float32, copy=False)
    times = np.array([group.answered_at.astimezone(dt.UTC).replace(tzinfo=None) for group in groups], "datetime64[us]")
    columns = {name: pa.nulls(rows, kind) for name, kind in SEGMENT_COLUMNS.items()} | {
        "answered_at": _fixed_width(np.repeat(times, sizes), pa.timestamp("us", "UTC")),
        "customer_id": _texts([customer for group in groups for customer in group.customer_ids]),
        "model_version": _constant(model_version, rows),
        "churn_probability": _fixed_width(probabilities, pa.float32()),
        "prediction": _categories(contract.predicts_churn(probabilities), _DECISIONS),
    }
    if any(group.features_day is not None for group in groups):
        columns["features_day"] = _days(
            [day for group in groups for day in group.features_day or [None] * len(group.customer_ids)]
        )
    if shadow is not None and shadow_probabilities is not None:
        columns["shadow_version"] = _constant(shadow.version, rows)
        columns["shadow_probability"] = _fixed_width(shadow_probabilities.astype(np.float32, copy=False), pa.float32())
        columns["shadow_prediction"] = _categories(shadow.contract.predicts_churn(shadow_probabilities), _DECISIONS)
    if with_features:
        values = np.ascontiguousarray(np.concatenate([group.matrix for group in groups]).T, dtype=np.float32)
        for name, feature, column in zip(feature_columns(contract), contract.features, values, strict=True):
            columns[name] = (
                _fixed_width(column, pa.float32())
                if feature.categories is None
                else _categories(column, feature.categories)
            )
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _fixed_width(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return ``values``, shape (n,), without a copy; its items must have the width of ``kind``."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _texts(values: Sequence[str]) -> pa.Array:
    """Return texts; a lone surrogate, which UTF-8 cannot encode, becomes a question mark."""
    encoded = [value.encode(errors="replace") for value in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _categories(codes: NDArray[Any], texts: Sequence[str]) -> pa.DictionaryArray:
    """Return the texts at the positions ``codes``, shape (n,); null for NaN."""
    missing = np.isnan(codes)
    positions = np.where(missing, 0, codes).astype(np.int32)
    buffers = [_bits(~missing), pa.py_buffer(positions)]
    return pa.DictionaryArray.from_arrays(pa.Array.from_buffers(pa.int32(), len(codes), buffers), _texts(texts))


def _constant(text: str, rows: int) -> pa.DictionaryArray:
    return _categories(np.zeros(rows), [text])


def _days(values: Sequence[dt.date | None]) -> pa.Array:
    present = np.array([value is not None for value in values], dtype=np.bool_)
    numbers = np.array([value.toordinal() - _EPOCH if value else 0 for value in values], dtype=np.int32)
    return pa.Array.from_buffers(pa.date32(), len(values), [_bits(present), pa.py_buffer(numbers)])


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
