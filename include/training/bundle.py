"""The model bundle: a folder with a booster, the contract of its inputs, and samples of its answers.

Training writes it, MLflow keeps it, serving packages it. It imports little, because it is shipped with the service.
Nothing in it is pickled, and a manifest of checksums tells a damaged bundle from a good one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from include.errors import ChurnflowError

MODEL_FILE = "model.ubj"
CONTRACT_FILE = "contract.json"
SAMPLES_FILE = "samples.json"
MANIFEST_FILE = "manifest.json"
_FILES = (MODEL_FILE, CONTRACT_FILE, SAMPLES_FILE)


class BundleError(ChurnflowError):
    """A model bundle is incomplete, damaged or at odds with itself."""


class EncodingError(ChurnflowError):
    """Columns do not have the names or the types that the model's contract asks for."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FeatureContract(_Frozen):
    """What one input of the model looks like.

    Attributes:
        name: The column's name in ``gold/features``.
        dtype: ``number``, or ``category`` for text out of ``categories``.
        nullable: Whether the value may be absent.
        minimum: The smallest plausible number.
        maximum: The largest plausible number.
        categories: The texts known to the model, in the order of their codes; only for ``category``.
        description: What the feature means.
    """

    name: str = Field(min_length=1)
    dtype: Literal["number", "category"]
    nullable: bool
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    description: str = ""

    @model_validator(mode="after")
    def _categories_fit_dtype(self) -> Self:
        if (self.dtype == "category") != bool(self.categories):
            raise ValueError("categories are given for, and only for, dtype 'category'")
        if self.categories and len(set(self.categories)) != len(self.categories):
            raise ValueError("categories must be unique")
        return self


class ModelContract(_Frozen):
    """What a model expects, what it was trained on, and how its answer becomes a decision.

    Attributes:
        format: The version of this layout.
        project: The project whose features it reads.
        model_version: The registry's version. The registry numbers a bundle only after training has logged it: until
            then it is ``unregistered``, and packaging sets the version with ``Bundle.with_version``.
        run_id: The MLflow run that trained it.
        trained_through: The last snapshot day in the training set.
        label: The label's column.
        horizon_days: How many days after the snapshot the label looks at; none when it comes with the row.
        threshold: The smallest probability that is answered with ``churn``.
        features: The inputs, in the order of the matrix.
        tables: The Delta version of every table read.
    """

    format: Literal[1] = 1
    project: str
    model_version: str = Field(min_length=1)
    run_id: str
    trained_through: dt.date
    label: str
    horizon_days: int = Field(ge=0)
    threshold: float = Field(ge=0, le=1)
    features: tuple[FeatureContract, ...] = Field(min_length=1)
    tables: dict[str, int] = {}

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        if len(set(self.feature_names)) != len(self.features):
            raise ValueError("feature names must be unique")
        return self

    @property
    def feature_names(self) -> list[str]:
        """The names of the inputs, in the order of the matrix."""
        return [feature.name for feature in self.features]

    def encode(self, columns: Any) -> NDArray[np.float32]:
        """Return ``columns`` as the model's input matrix.

        Args:
            columns: A mapping of names to sequences, a ``pyarrow.Table`` or a pandas frame, of n rows. It holds exactly
                the contract's features, in any order.

        Returns:
            A float32 matrix of shape (n, number of features). A null or an unknown category is NaN.

        Raises:
            EncodingError: A column is missing, unknown, of another length, or holds what is not a finite number.
        """
        present = list(getattr(columns, "column_names", columns))
        missing = [name for name in self.feature_names if name not in set(present)]
        unknown = sorted(set(present) - set(self.feature_names))
        if missing or unknown:
            raise EncodingError(
                f"Columns missing: {missing or 'none'}; columns unknown: {unknown or 'none'}.",
                where=f"input of model version {self.model_version}",
                remedy="Pass exactly the features that the model's contract names.",
            )
        encoded = [_encode_column(feature, columns[feature.name]) for feature in self.features]
        if len({len(column) for column in encoded}) > 1:
            raise EncodingError(
                "The columns differ in length.",
                where=f"input of model version {self.model_version}",
                remedy="Pass one value for each row in every column.",
            )
        return np.ascontiguousarray(np.column_stack(encoded))

    @cached_property
    def category_codes(self) -> dict[int, dict[str, float]]:
        """The code of each category, by the position of its feature."""
        return {i: _codes(feature.categories) for i, feature in enumerate(self.features) if feature.categories}

    def encode_rows(self, rows: Sequence[Sequence[float | str | None]]) -> NDArray[np.float32]:
        """Return validated rows, each in the order of the features, as the model's input matrix.

        This is the service's short way to what ``encode`` returns: it costs one array for a few requests, where
        ``encode`` costs one array for each feature.

        Returns:
            A float32 matrix of shape (number of rows, number of features).
        """
        coded = [list(row) for row in rows]
        for position, codes in self.category_codes.items():
            for row in coded:
                row[position] = codes.get(row[position], np.nan)  # type: ignore[arg-type]
        return np.array(coded, dtype=np.float32).reshape(len(rows), len(self.features))

    def decide(self, probability: float) -> Literal["churn", "retain"]:
        """Return what the model's threshold makes of a churn probability."""
        return "churn" if probability >= self.threshold else "retain"


class Sample(_Frozen):
    """One customer's features and the probability that the model gave, recorded by training."""

    features: dict[str, float | str | None]
    churn_probability: float


@dataclass(frozen=True)
class Bundle:
    """A model that is ready to be served."""

    contract: ModelContract
    booster: xgb.Booster
    samples: tuple[Sample, ...] = ()

    def save(self, folder: Path) -> None:
        """Write the bundle into ``folder``; the manifest comes last, so that a half-written bundle has none."""
        self._check_width(str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
        self.booster.save_model(folder / MODEL_FILE)
        (folder / CONTRACT_FILE).write_text(self.contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        samples = [sample.model_dump() for sample in self.samples]
        (folder / SAMPLES_FILE).write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
        manifest = {name: _checksum(folder / name) for name in _FILES}
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the bundle in ``folder``.

        Raises:
            BundleError: A file is missing, differs from the manifest, or cannot be understood.
        """
        _verify_manifest(folder)
        try:
            contract = ModelContract.model_validate_json((folder / CONTRACT_FILE).read_bytes())
            samples = TypeAdapter(tuple[Sample, ...]).validate_json((folder / SAMPLES_FILE).read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise _damaged(folder, f"{error.title} cannot be read at {key or 'its root'}: {first['msg']}.") from error
        try:
            booster = xgb.Booster(params={"nthread": 1}, model_file=folder / MODEL_FILE)
        except xgb.core.XGBoostError as error:
            raise _damaged(folder, f"{MODEL_FILE} is not a booster.") from error
        bundle = cls(contract, booster, samples)
        bundle._check_width(str(folder))
        return bundle

    def with_version(self, model_version: str) -> Self:
        """Return the same bundle under the version that the registry gave it."""
        return replace(self, contract=self.contract.model_copy(update={"model_version": model_version}))

    def predict(self, columns: Any) -> NDArray[np.float32]:
        """Return the churn probability of each row of ``columns``, shape (n,); see ``ModelContract.encode``."""
        return self.predict_matrix(self.contract.encode(columns))

    def predict_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the churn probability of each row of an encoded matrix (n, k), shape (n,), by all of its trees."""
        if not len(matrix):
            return np.empty(0, dtype=np.float32)
        probabilities: NDArray[np.float32] = self.booster.inplace_predict(matrix, validate_features=False)
        return probabilities

    def _check_width(self, where: str) -> None:
        if self.booster.num_features() != len(self.contract.features):
            raise BundleError(
                f"The booster has {self.booster.num_features()} inputs, its contract {len(self.contract.features)}.",
                where=where,
                remedy="Train the model again with the features that its contract names.",
            )


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
    # NumPy would read "1.5" as a number, and a date as nanoseconds.
    is_text = raw.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in raw)
    try:
        if is_text or raw.dtype.kind not in "Obiuf" or raw.ndim != 1:
            raise TypeError
        with np.errstate(over="ignore"):
            numbers = np.asarray(column, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise _not_numbers(name, "something other than numbers") from error
    if np.isinf(numbers).any():
        raise _not_numbers(name, f"{int(np.isinf(numbers).sum())} values that are infinite as 32-bit numbers")
    return numbers


def _not_numbers(name: str, found: str) -> EncodingError:
    return EncodingError(
        f"The column holds {found}.",
        where=f"feature {name}",
        remedy="Pass finite numbers, and null where there is none.",
    )


def _verify_manifest(folder: Path) -> None:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        expected = {name: manifest[name] for name in _FILES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{MANIFEST_FILE} is missing or unreadable.") from error
    for name, checksum in expected.items():
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing.")
        if _checksum(folder / name) != checksum:
            raise _damaged(folder, f"{name} differs from its checksum in {MANIFEST_FILE}.")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _damaged(folder: Path, what: str) -> BundleError:
    return BundleError(what, where=f"model bundle {folder}", remedy="Fetch the bundle from the registry again.")
