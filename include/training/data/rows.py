"""The rows of a data set in memory: features, matrix, labels, days and customers; their folds and samples."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from include.projects import Project
from include.projects.training import Training
from include.training.data.dataset import DatasetManifest, DatasetPart, DatasetRef
from include.training.data.splits import stratified_folds, time_folds
from include.training.model.contract import FeatureContract, ModelContract


@dataclass(frozen=True)
class Rows:
    """n rows of k features.

    Attributes:
        days: The snapshot day of each row, shape (n,).
        customers: The customer id of each row, n texts.
        features: The features as stored in gold, n rows.
        matrix: The features encoded for the model, float32, shape (n, k).
        churned: The labels, 0 or 1, shape (n,).
    """

    days: NDArray[np.datetime64]
    customers: pa.ChunkedArray
    features: pa.Table
    matrix: NDArray[np.float32]
    churned: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.churned)

    def on_days(self, days: Iterable[dt.date]) -> NDArray[np.bool_]:
        """Return a mask of the rows of ``days``, shape (n,)."""
        mask: NDArray[np.bool_] = np.isin(self.days, np.array(list(days), dtype="datetime64[D]"))
        return mask

    def by_customer(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the distinct customers, and the position of each row's customer among them, shape (n,)."""
        encoded = self.customers.combine_chunks().dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    @property
    def snapshot_days(self) -> tuple[dt.date, ...]:
        """The distinct snapshot days, sorted."""
        return tuple(np.unique(self.days).tolist())

    def with_features(self, names: Sequence[str]) -> Rows:
        """Return the rows with some of the features, in the order of ``names``; nothing is copied for all features."""
        if list(names) == self.features.column_names:
            return self
        positions = [self.features.column_names.index(name) for name in names]
        return dataclasses.replace(self, features=self.features.select(list(names)), matrix=self.matrix[:, positions])

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows selected by ``mask``, of shape (n,), in their order."""
        kept = pa.array(mask)
        return Rows(
            days=self.days[mask],
            customers=self.customers.filter(kept),
            features=self.features.filter(kept),
            matrix=self.matrix[mask],
            churned=self.churned[mask],
        )


@dataclass(frozen=True)
class RowSplit:
    """A fold of n rows: masks of its training and validation rows, shape (n,), and its name for messages."""

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    name: str


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several parts, in their order.

    Args:
        parts: The parts, with the same features.
    """
    return Rows(
        days=np.concatenate([part.days for part in parts]),
        customers=pa.chunked_array([chunk for part in parts for chunk in part.customers.chunks], type=pa.string()),
        features=pa.concat_tables([part.features for part in parts]),
        matrix=np.concatenate([part.matrix for part in parts]),
        churned=np.concatenate([part.churned for part in parts]),
    )


def load_rows(dataset: DatasetRef, part: DatasetPart, contract: ModelContract) -> Rows:
    """Return one part of a data set.

    Args:
        dataset: The data set.
        part: One of its parts.
        contract: Encodes the features.
    """
    table = pq.read_table(dataset.folder / part.file)
    features = table.select(contract.feature_names)
    return Rows(
        days=table["dt"].to_numpy().astype("datetime64[D]"),
        customers=table["customer_id"],
        features=features,
        matrix=contract.encode(features),
        churned=table[contract.label].to_numpy().astype(np.int8),
    )


def model_contract(project: Project, manifest: DatasetManifest) -> ModelContract:
    """Return the contract of a model that is fitted on all parts of a data set; run id and evaluation are empty.

    Args:
        project: The project: its features and costs.
        manifest: The data set's manifest.
    """
    return ModelContract(
        project=project.name,
        run_id="",
        trained_through=manifest.days[-1],
        label=manifest.label,
        horizon_days=manifest.horizon_days,
        threshold=project.requirements.costs.threshold,
        features=tuple(
            FeatureContract(
                name=spec.name,
                dtype=spec.dtype,
                nullable=spec.nullable,
                minimum=spec.minimum,
                maximum=spec.maximum,
                categories=tuple(spec.categories) or None,
                description=spec.description,
                topic=spec.topic,
                unit=spec.unit,
            )
            for spec in project.features
        ),
        tables=manifest.tables,
    )


def row_splits(rows: Rows, manifest: DatasetManifest, training: Training) -> list[RowSplit]:
    """Return the cross-validation folds of rows of a data set, split in the same way as the data set.

    Args:
        rows: The rows.
        manifest: The data set's manifest.
        training: The number of folds, and the seed of a split without time.

    Raises:
        TooFewSnapshotsError: With time, the first fold has no training rows.
        TooFewCustomersError: Without time, a fold would lack churners or customers who stay.
    """
    if manifest.split == "stratified":
        masks = stratified_folds(rows.customers.to_pylist(), rows.churned, training.cv_folds, training.seed)
        return [RowSplit(~mask, mask, f"fold {number + 1} of {len(masks)}") for number, mask in enumerate(masks)]
    return [
        RowSplit(
            rows.on_days(fold.train),
            rows.on_days(fold.test),
            f"fold that validates on {fold.test[0]}..{fold.test[-1]}",
        )
        for fold in time_folds(rows.snapshot_days, manifest.horizon_days, training.cv_folds)
    ]


def customer_folds(rows: Rows, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each of n rows, shape (n,); all rows of a customer are in one fold.

    Customers with equal numbers of churned rows are spread evenly over the folds. scikit-learn's
    ``StratifiedGroupKFold`` does the same in a Python loop over the customers, which is slow for many of them.

    Args:
        rows: The n rows.
        folds: Number of folds.
        seed: The seed of the draw.
    """
    customers, customer_of_row = rows.by_customer()
    churned_rows = np.bincount(customer_of_row, rows.churned)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(customers)), churned_rows))
    fold = np.empty(len(customers), dtype=np.int64)
    fold[order] = np.arange(len(customers)) % folds
    return fold[customer_of_row]


def evenly_spaced(rows: int, wanted: int) -> NDArray[np.int64]:
    """Return the positions of ``wanted`` of ``rows`` rows, evenly spaced from the first to the last.

    Args:
        rows: Number of rows.
        wanted: Number of positions; all rows are returned if there are fewer.

    Example:
        >>> evenly_spaced(9, 3).tolist()
        [0, 4, 8]
    """
    return np.linspace(0, rows - 1, min(wanted, rows)).astype(np.int64)


def first_of_each(customers: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the position of the first row of each customer, increasing.

    With rows in descending order of their days, these are the latest rows of the customers.

    Args:
        customers: The customer of each of n rows, n texts.

    Example:
        >>> first_of_each(pa.chunked_array([["b", "a", "b"]])).tolist()
        [0, 1]
    """
    codes = customers.combine_chunks().dictionary_encode().indices.to_numpy()
    return np.sort(np.unique(codes, return_index=True)[1])


def sample_customers(rows: Rows, wanted: int | None, seed: int) -> Rows:
    """Return all rows of a sample of customers that together have about ``wanted`` rows; see ``draw_customers``.

    Args:
        rows: The rows to draw from.
        wanted: The number of rows; all rows are returned if it is None or at least their number.
        seed: The seed of the draw.
    """
    if wanted is None or len(rows) <= wanted:
        return rows
    drawn = draw_customers(rows.customers, wanted, "tuning", seed)
    return rows.where(pc.is_in(rows.customers, value_set=drawn).to_numpy())


def draw_customers(customers: pa.ChunkedArray, wanted: int, purpose: str, seed: int) -> pa.Array:
    """Return a sample of customers that together have about ``wanted`` rows.

    The draw depends on a hash of the customer, not on the order of the rows, and a larger sample contains the smaller
    one. A sample of customers covers the same days as all rows, and customers recur in it as often as in all rows.

    Args:
        customers: The customer of each row.
        wanted: The number of rows, fewer than there are.
        purpose: Draws of different purposes are independent of each other, and of the draw of a stratified test.
        seed: The seed of the draw.
    """
    counts = customers.value_counts()
    ids = counts.field("values").to_pylist()
    hashes = [hashlib.sha256(f"{purpose}:{seed}:{customer}".encode()).digest() for customer in ids]
    order = sorted(range(len(ids)), key=hashes.__getitem__)
    last = int(np.searchsorted(np.cumsum(counts.field("counts").to_numpy()[order]), wanted))
    return counts.field("values").take(pa.array(order[: last + 1]))
