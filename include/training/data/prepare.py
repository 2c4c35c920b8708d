"""The first step of a training: the data set, and what must be true of it before anything is learned from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.features.definitions import differing_definitions
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from include.training.data.dataset import DatasetError, DatasetRef, build_dataset
from include.training.requirements import Verdict, require_data, verdicts_document


@dataclass(frozen=True)
class PreparedDataset:
    """A data set that may be learned from, and the verdicts on it."""

    dataset: DatasetRef
    verdicts: list[Verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return counts, references and verdicts as plain JSON types, fit for XCom."""
        return self.dataset.as_dict() | verdicts_document(self.verdicts)


def prepare_dataset(project: Project, lake: Lake, through: dt.date, out_dir: Path) -> PreparedDataset:
    """Write the data set of the labels known when ``through`` closes, and check it; see ``build_dataset``.

    Raises:
        DatasetError: Some of its days were built with other features or another label than the project has now; or see
            ``build_dataset``.
        RequirementsError: It misses a requirement of the project whose mode is ``enabled``.
        TooFewSnapshotsError: There are not enough matured snapshots for the test, the gap and the folds.
        TooFewCustomersError: Without time, there are not enough churners or customers who stay.
    """
    dataset = build_dataset(project, lake, through, out_dir)
    days = sorted({*dataset.manifest.train.days, *dataset.manifest.test.days})
    features, labels = differing_definitions(project, lake, days)
    _require_none(features, FEATURES_TABLE)
    _require_none(labels, LABELS_TABLE)
    return PreparedDataset(dataset, require_data(project, dataset))


def _require_none(differing: Mapping[dt.date, Sequence[str]], table: str) -> None:
    if not differing:
        return
    first, last = min(differing), max(differing)
    names = sorted({name for names in differing.values() for name in names})
    raise DatasetError(
        f"{len(differing)} training days, {first} to {last}, were built with another definition of {_few(names)}.",
        where=table,
        remedy="Ingest them again with the present configuration: bin/airflow dags trigger churn_ingest --conf "
        f'\'{{"from_day": "{first}", "to_day": "{last}"}}\'',
    )


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
