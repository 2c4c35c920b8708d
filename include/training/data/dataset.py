"""The training data set: features joined with matured labels, split, written once, described by a manifest.

It is split by time, or, where the data has none, by customer with equal shares of churners.

The manifest names the table versions read and the checksums of the rows, so that a training can be repeated and a
result can be traced to its data. The folder is all that a training process or pod needs.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.local_files import write_atomically
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.data.configuration import PROJECT_FILE, configuration_sha256, configuration_text
from include.training.data.content import column_checksums
from include.training.data.data_version import DataVersion
from include.training.data.split import split_by_time, time_folds
from include.training.data.stratified import stratified_test
from include.training.pod import training_root

log = get_logger(__name__)

MANIFEST_FILE = "manifest.json"
_KEYS = ["dt", "customer_id"]
_READ_ATTEMPTS = 3


class DatasetError(ChurnflowError):
    """Gold cannot be made into a training data set, or a data set's folder is damaged."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetPart(_Frozen):
    """The training rows or the test rows.

    Attributes:
        file: The Parquet file within the folder.
        days: The snapshot days, sorted.
        rows: How many rows it has.
        positives: How many of them churned.
        sha256: The file's checksum, which shows damage.
        columns: The checksum of every column's values, whatever file holds them.
    """

    file: str
    days: tuple[dt.date, ...]
    rows: int
    positives: int
    sha256: str
    columns: dict[str, str]

    @property
    def positive_ratio(self) -> float:
        """The share of rows that churned; zero when there is none."""
        return self.positives / self.rows if self.rows else 0.0


class DatasetManifest(_Frozen):
    """What a data set holds and what it was made from.

    Attributes:
        format: The version of this layout.
        project: The project.
        through: The day whose close everything was known at.
        label: The label's column.
        horizon_days: How many days the label looks ahead.
        split: How train and test were told apart: ``time``, or ``stratified`` where the data has none.
        features: The feature columns, in order.
        train: The rows to learn from.
        test: The rows to be judged on: later ones, or other customers.
        unlabelled_days: Matured snapshot days with features but no labels, left out.
        tables: The Delta version of every table read.
        configuration_sha256: The checksum of the project's configuration, which lies beside as ``project.yaml``.
        data_version: The version of the raw data behind the tables, once it is kept.
    """

    format: Literal[1] = 1
    project: str
    through: dt.date
    label: str
    horizon_days: int
    split: Literal["time", "stratified"] = "time"
    features: tuple[str, ...]
    train: DatasetPart
    test: DatasetPart
    unlabelled_days: tuple[dt.date, ...]
    tables: dict[str, int]
    configuration_sha256: str
    data_version: DataVersion | None = None

    @property
    def all_tables(self) -> dict[str, int]:
        """The Delta versions of the tables read, and of those that the version of the raw data was taken from."""
        return self.tables | (self.data_version.tables if self.data_version else {})

    @property
    def fingerprint(self) -> str:
        """A checksum over the rows of both parts: equal for equal rows, whichever library wrote them."""
        return hashlib.sha256(json.dumps([self.train.columns, self.test.columns]).encode()).hexdigest()


@dataclass(frozen=True)
class DatasetRef:
    """Where a data set lies, and its manifest."""

    folder: Path
    manifest: DatasetManifest

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and references as plain JSON types, fit for XCom."""
        manifest = self.manifest
        return {
            "folder": str(self.folder),
            "name": dataset_name(manifest.project, manifest.through),
            "through": str(manifest.through),
            "train_rows": manifest.train.rows,
            "test_rows": manifest.test.rows,
            "train_positive_ratio": round(manifest.train.positive_ratio, 4),
            "test_positive_ratio": round(manifest.test.positive_ratio, 4),
            "trained_through": str(manifest.train.days[-1]),
            "test_from": str(manifest.test.days[0]),
            "tables": manifest.tables,
            "fingerprint": manifest.fingerprint,
        }


def dataset_dir(settings: Settings, through: dt.date) -> Path:
    """Return the folder of the data set of the settings' project for one day."""
    return training_root(settings) / dataset_name(settings.project, through)


def dataset_name(project: str, through: dt.date) -> str:
    """Return the data set's folder below the training folder, wherever that is mounted."""
    return f"{project}/{through}"


def build_dataset(project: Project, lake: Lake, through: dt.date, out_dir: Path) -> DatasetRef:
    """Write the data set of every snapshot whose label is known when ``through`` closes.

    Without time, it is the newest labelled gold day by then.

    Args:
        project: The business.
        lake: Holds ``gold/features`` and ``gold/labels``.
        through: The day; a snapshot ``D`` counts when ``D + horizon <= through``.
        out_dir: The folder written: ``train.parquet``, ``test.parquet`` (``dt``, ``customer_id``, the features, the
            label), ``project.yaml`` and ``manifest.json``, which comes last.

    Raises:
        TooFewSnapshotsError: There are not enough matured snapshots for the test, the gap and the folds.
        TooFewCustomersError: Without time, there are not enough churners or customers who stay.
        DatasetError: Gold lacks a feature, or a label is neither 0 nor 1.
        LakeError: A gold table does not exist.
    """
    label, features = project.label, [spec.name for spec in project.features]
    feature_days = _matured(project, lake.table(FEATURES_TABLE).days(), through)
    label_days = set(lake.table(LABELS_TABLE).days())
    days = [day for day in feature_days if day in label_days]
    train_days, test_days = _split_days(project, days)
    rows, tables = _read_gold(lake, sorted({*train_days, *test_days}), features, label.name)
    in_test = _is_test(project, rows, test_days)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / MANIFEST_FILE).unlink(missing_ok=True)
    manifest = DatasetManifest(
        project=project.name,
        through=through,
        label=label.name,
        horizon_days=label.horizon_days,
        split="time" if project.has_time else "stratified",
        features=tuple(features),
        train=_write_part(rows.filter(pc.invert(in_test)), train_days, label.name, out_dir / "train.parquet"),
        test=_write_part(rows.filter(in_test), test_days, label.name, out_dir / "test.parquet"),
        unlabelled_days=tuple(day for day in feature_days if day not in label_days),
        tables=tables,
        configuration_sha256=configuration_sha256(project),
    )
    (out_dir / PROJECT_FILE).write_text(configuration_text(project), encoding="utf-8")
    _write_manifest(out_dir, manifest)
    reference = DatasetRef(out_dir, manifest)
    log.info("data set written", extra={"dataset": reference.as_dict(), "unlabelled": len(manifest.unlabelled_days)})
    return reference


def load_dataset(folder: Path) -> DatasetRef:
    """Return the data set in ``folder``, after comparing its files with the manifest's checksums.

    Raises:
        DatasetError: A file is missing, unreadable or was changed.
    """
    try:
        manifest = DatasetManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(folder, f"{MANIFEST_FILE} is missing or unreadable.") from error
    for part in (manifest.train, manifest.test):
        path = folder / part.file
        if not path.is_file() or _checksum(path) != part.sha256:
            raise _damaged(folder, f"{part.file} is missing or differs from its checksum.")
    return DatasetRef(folder, manifest)


def note_data_version(folder: Path, version: DataVersion) -> DatasetRef:
    """Write into the manifest in ``folder`` which version of the raw data it was made from.

    Raises:
        DatasetError: The data set is damaged.
    """
    dataset = load_dataset(folder)
    manifest = dataset.manifest.model_copy(update={"data_version": version})
    _write_manifest(folder, manifest)
    return DatasetRef(folder, manifest)


def _write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def _matured(project: Project, days: list[dt.date], through: dt.date) -> list[dt.date]:
    horizon = dt.timedelta(days=project.label.horizon_days)
    return [day for day in days if project.is_snapshot_day(day) and day + horizon <= through]


def _split_days(project: Project, days: list[dt.date]) -> tuple[tuple[dt.date, ...], tuple[dt.date, ...]]:
    """Return the days of the training rows and of the test rows."""
    if project.has_time:
        split = split_by_time(days, project.label.horizon_days, project.training.test_snapshots)
        time_folds(split.train, project.label.horizon_days, project.training.cv_folds)
        return split.train, split.test
    if not days:
        raise DatasetError(
            "No day has labelled rows.",
            where=LABELS_TABLE,
            remedy="Ingest the day of a delivery whose rows have a label, and train on that day or later.",
        )
    return (days[-1],), (days[-1],)


def _is_test(project: Project, rows: pa.Table, test_days: tuple[dt.date, ...]) -> pa.Array:
    if project.has_time:
        return pc.is_in(rows["dt"], value_set=pa.array(test_days, type=rows["dt"].type))
    churned = rows[project.label.name].to_numpy().astype(np.int8)
    training = project.training
    return pa.array(stratified_test(rows["customer_id"].to_pylist(), churned, training.test_share, training.seed))


def _read_gold(lake: Lake, days: list[dt.date], features: list[str], label: str) -> tuple[pa.Table, dict[str, int]]:
    feature_rows, feature_version = _read_versioned(lake, FEATURES_TABLE, days, [*_KEYS, *features])
    label_rows, label_version = _read_versioned(lake, LABELS_TABLE, days, [*_KEYS, label])
    rows = feature_rows.join(label_rows, keys=_KEYS, join_type="inner").sort_by([(key, "ascending") for key in _KEYS])
    labels = set(pc.unique(rows[label]).to_pylist())
    if not labels <= {0, 1}:
        raise DatasetError(
            f"Labels are {sorted(map(str, labels))} instead of 0 and 1.",
            where=f"{LABELS_TABLE}, column {label}",
            remedy="Run churn_ingest again for the training days.",
        )
    if rows.num_rows < feature_rows.num_rows:
        log.warning("feature rows without a label left out", extra={"rows": feature_rows.num_rows - rows.num_rows})
    return rows, {FEATURES_TABLE: feature_version, LABELS_TABLE: label_version}


def _read_versioned(lake: Lake, name: str, days: list[dt.date], columns: list[str]) -> tuple[pa.Table, int]:
    table = lake.table(name)
    present = table.read([], None).column_names
    missing = [column for column in columns if column not in present]
    if missing:
        raise DatasetError(
            f"{len(missing)} columns are missing, such as {missing[0]!r}.",
            where=name,
            remedy="Ingest the training days again with the project's present features.",
        )
    for _ in range(_READ_ATTEMPTS):
        version = table.version()
        rows = table.read(days, columns)
        if table.version() == version:
            return rows, version
    raise DatasetError(
        "The table was being written during every attempt to read it.",
        where=name,
        remedy="Run the training again when the ingest has finished.",
    )


def _write_part(part: pa.Table, days: tuple[dt.date, ...], label: str, path: Path) -> DatasetPart:
    pq.write_table(part, path)
    positives = int(pc.sum(part[label]).as_py() or 0)
    return DatasetPart(
        file=path.name,
        days=days,
        rows=part.num_rows,
        positives=positives,
        sha256=_checksum(path),
        columns=column_checksums(part),
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(folder: Path, what: str) -> DatasetError:
    return DatasetError(what, where=f"data set {folder}", remedy="Build the data set again.")
