"""The rows of a data set as the model sees them: a matrix, the labels, and whose row of which day each is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from include.projects import Project
from include.training.data.dataset import DatasetManifest, DatasetPart, DatasetRef
from include.training.model.contract import FeatureContract, HeldOut, ModelContract

"""The contract's model version until the registry has given one."""


@dataclass(frozen=True)
class Rows:
    """n rows of k features.

    Attributes:
        days: The snapshot day of each row, shape (n,).
        customers: The customer of each row, n texts.
        features: The features as they lie in gold, n rows.
        matrix: The features as the model reads them, float32, shape (n, k).
        churned: The labels, 0 or 1, shape (n,).
    """

    days: NDArray[np.datetime64]
    customers: pa.ChunkedArray
    features: pa.Table
    matrix: NDArray[np.float32]
    churned: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.churned)

    def of(self, days: Iterable[dt.date]) -> NDArray[np.bool_]:
        """Return a mask of the rows of ``days``, shape (n,)."""
        mask: NDArray[np.bool_] = np.isin(self.days, np.array(list(days), dtype="datetime64[D]"))
        return mask

    def by_customer(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the different customers, and for each row which of them it belongs to, shape (n,)."""
        encoded = self.customers.combine_chunks().dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows that ``mask``, of shape (n,), holds, in their order."""
        kept = pa.array(mask)
        return Rows(
            days=self.days[mask],
            customers=self.customers.filter(kept),
            features=self.features.filter(kept),
            matrix=self.matrix[mask],
            churned=self.churned[mask],
        )


def model_contract(project: Project, manifest: DatasetManifest) -> ModelContract:
    """Return the contract of a model of ``project`` trained on a data set, before it has a run."""
    return ModelContract(
        project=project.name,
        run_id="",
        trained_through=manifest.train.days[-1],
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
            )
            for spec in project.features
        ),
        tables=manifest.tables,
        held_out=held_out(project),
    )


def held_out(project: Project) -> HeldOut | None:
    """Return which customers a model of ``project`` does not learn from; none by name where time tells them apart."""
    return None if project.has_time else HeldOut(share=project.training.test_share, seed=project.training.seed)


def load_rows(dataset: DatasetRef, part: DatasetPart, contract: ModelContract) -> Rows:
    """Return one part of a data set, encoded by ``contract``."""
    table = pq.read_table(dataset.folder / part.file)
    features = table.select(contract.feature_names)
    return Rows(
        days=table["dt"].to_numpy().astype("datetime64[D]"),
        customers=table["customer_id"],
        features=features,
        matrix=contract.encode(features),
        churned=table[contract.label].to_numpy().astype(np.int8),
    )
