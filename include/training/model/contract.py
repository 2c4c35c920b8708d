"""The contract of a model: its input features, their encoding, and its decision threshold.

Training, batch scoring and the endpoint use the same encoding. The module imports little, since it is shipped with the
service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.errors import ChurnflowError
from include.plurals import counted

FORMAT: Literal[6] = 6
"""The version of the bundle's layout: 2 added the calibrator; 3 removed the model version; 4 added calibration
methods and the units of features; 5 replaced the test customers by the evaluation; 6 added the half-life of the
rows, the reference profile, and further metrics of the evaluation."""


class EncodingError(ChurnflowError):
    """Columns do not have the names or the types of the model's contract."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FeatureContract(_Frozen):
    """One input feature of a model.

    Attributes:
        name: The column's name in ``gold/features``.
        dtype: ``number``, or ``category`` for one of the texts in ``categories``.
        nullable: Whether the value may be null.
        minimum: The lowest plausible number.
        maximum: The largest plausible number.
        categories: The known texts, in the order of their codes; only for ``category``.
        description: The meaning of the feature.
        topic: The group of similar features that it belongs to; empty if it belongs to none.
        unit: The unit of a number, such as ``days``; empty if it has none.
    """

    name: str = Field(min_length=1)
    dtype: Literal["number", "category"]
    nullable: bool
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    description: str = ""
    topic: str = ""
    unit: str = ""

    @model_validator(mode="after")
    def _categories_fit_dtype(self) -> Self:
        if (self.dtype == "category") != bool(self.categories):
            raise ValueError("categories are given for, and only for, dtype 'category'")
        if self.categories and len(set(self.categories)) != len(self.categories):
            raise ValueError("categories must be unique")
        return self


@dataclass(frozen=True)
class MetricValue:
    """The value of a metric, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class RecipeEvaluation(_Frozen):
    """The evaluation of a model's recipe, by another model of the same recipe that was not fitted on the test rows.

    Attributes:
        trained_through: The last snapshot day that the evaluated model was fitted on.
        first_day: The first snapshot day of the test.
        last_day: The last snapshot day of the test.
        metrics: The metrics on the test, with the names of ``measure``, and their 95 % intervals by bootstrap over
            customers.
        estimate_errors: The root mean square error of each metric of ``estimate_metrics``, over the snapshots of the
            test.
    """

    trained_through: dt.date
    first_day: dt.date
    last_day: dt.date
    metrics: dict[str, MetricValue]
    estimate_errors: dict[str, float]


class ModelContract(_Frozen):
    """The inputs, the training data and the decision threshold of a model.

    Attributes:
        format: The version of the bundle's layout.
        project: The project whose features are the inputs.
        run_id: The MLflow run that trained it.
        trained_through: The last snapshot day that the model was fitted on.
        half_life_days: The age in days that halves the weight of a row; None if the weights are equal.
        label: The label's column.
        horizon_days: Days after the snapshot that the label covers; 0 if the label is a column of the row.
        threshold: The lowest probability that is predicted as ``churn``.
        features: The inputs, in the order of the matrix.
        tables: The Delta version of every table read.
        evaluation: The evaluation of the model's recipe on rows that the evaluated model was not fitted on.
    """

    format: Literal[6] = FORMAT
    project: str
    run_id: str
    trained_through: dt.date
    half_life_days: float | None = None
    label: str
    horizon_days: int = Field(ge=0)
    threshold: float = Field(ge=0, le=1)
    features: tuple[FeatureContract, ...] = Field(min_length=1)
    tables: dict[str, int] = {}
    evaluation: RecipeEvaluation | None = None

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        if len(set(self.feature_names)) != len(self.features):
            raise ValueError("feature names must be unique")
        return self

    def with_features(self, names: Sequence[str]) -> ModelContract:
        """Return the contract with some of the features, in the order of ``names``."""
        by_name = {feature.name: feature for feature in self.features}
        return self.model_copy(update={"features": tuple(by_name[name] for name in names)})

    @property
    def feature_names(self) -> list[str]:
        """The names of the inputs, in the order of the matrix."""
        return [feature.name for feature in self.features]

    def encode(self, columns: Any) -> NDArray[np.float32]:
        """Return ``columns`` as the model's input matrix.

        Args:
            columns: A mapping of names to sequences, a ``pyarrow.Table`` or a pandas frame, of n rows, with exactly the
                contract's features in any order.

        Returns:
            A float32 matrix of shape (n, number of features). Nulls and unknown categories are NaN.

        Raises:
            EncodingError: A column is missing, unknown, of another length, or has a value that is not a finite number.
        """
        present = list(getattr(columns, "column_names", columns))
        missing = [name for name in self.feature_names if name not in set(present)]
        unknown = sorted(set(present) - set(self.feature_names))
        if missing or unknown:
            raise EncodingError(
                f"Columns missing: {missing or 'none'}; columns unknown: {unknown or 'none'}.",
                where=f"input of the model of run {self.run_id}",
                remedy="Pass exactly the features of the model's contract.",
            )
        encoded = [_encode_column(feature, columns[feature.name]) for feature in self.features]
        if len({len(column) for column in encoded}) > 1:
            raise EncodingError(
                "The columns differ in length.",
                where=f"input of the model of run {self.run_id}",
                remedy="Pass one value for each row in every column.",
            )
        return np.ascontiguousarray(np.column_stack(encoded))

    @cached_property
    def category_codes(self) -> dict[int, dict[str, float]]:
        """The code of each category, by the position of its feature."""
        return {i: _codes(feature.categories) for i, feature in enumerate(self.features) if feature.categories}

    def encode_rows(self, rows: Sequence[Sequence[float | str | None]]) -> NDArray[np.float32]:
        """Return validated rows as the model's input matrix, equal to the result of ``encode``.

        The endpoint uses this method for a few rows at a time. It builds one array; ``encode`` builds an array for each
        feature.

        Args:
            rows: n rows of values, each in the order of the features.

        Returns:
            A float32 matrix of shape (n, number of features).
        """
        coded = [list(row) for row in rows]
        for position, codes in self.category_codes.items():
            for row in coded:
                row[position] = codes.get(row[position], np.nan)  # type: ignore[arg-type]
        return np.array(coded, dtype=np.float32).reshape(len(rows), len(self.features))

    def predicts_churn(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return which of the churn probabilities of n customers, shape (n,), reach the model's threshold."""
        return reaches_threshold(probabilities, self.threshold)

    def decide(self, probability: float) -> Literal["churn", "retain"]:
        """Return the prediction for one customer's churn probability."""
        return "churn" if reaches_threshold(probability, self.threshold) else "retain"


def reaches_threshold(probabilities: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Return which probabilities reach the threshold: ``probability >= threshold``.

    The comparison uses double precision. NumPy would compare a float32 array with the threshold rounded to 32 bits, and
    a batch could then have other decisions than the endpoint, which passes Python floats.

    Args:
        probabilities: Churn probabilities of any shape.
        threshold: The lowest probability that is predicted as churn.
    """
    reached: NDArray[np.bool_] = np.asarray(probabilities, dtype=np.float64) >= threshold
    return reached


def _codes(categories: tuple[str, ...]) -> dict[str, float]:
    return {category: float(code) for code, category in enumerate(categories)}


def _encode_column(feature: FeatureContract, column: Any) -> NDArray[np.float32]:
    if feature.categories is not None:
        codes = _codes(feature.categories)
        texts = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
        return np.array([codes.get(text, np.nan) for text in texts], dtype=np.float32)
    return _encode_numbers(feature.name, column)


def _encode_numbers(name: str, column: Any) -> NDArray[np.float32]:
    raw = np.asarray(column)
    # NumPy would convert "1.5" to a number, and a date to nanoseconds.
    is_text = raw.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in raw)
    try:
        if is_text or raw.dtype.kind not in "Obiuf" or raw.ndim != 1:
            raise TypeError
        with np.errstate(over="ignore"):
            numbers = np.asarray(column, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise _not_numbers(name, "values that are not numbers") from error
    if np.isinf(numbers).any():
        raise _not_numbers(name, f"infinite 32-bit numbers in {counted(int(np.isinf(numbers).sum()), 'row')}")
    return numbers


def _not_numbers(name: str, found: str) -> EncodingError:
    return EncodingError(
        f"The column has {found}.",
        where=f"feature {name}",
        remedy="Pass finite numbers, and null for a missing value.",
    )
