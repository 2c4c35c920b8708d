"""Build a training data set: join gold features with matured labels, split, write, and check the requirements.

The split is by time. Data without time is split by customer, with equal shares of churners.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from include.features.definitions import differing_definitions
from include.lake import Lake
from include.lake.table import ConflictError
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SCORES_TABLE
from include.local_files import file_checksum
from include.logs import get_logger
from include.plurals import counted
from include.projects import Project
from include.training.data.dataset import (
    BY_HAND,
    MANIFEST_FILE,
    PROJECT_FILE,
    DatasetError,
    DatasetManifest,
    DatasetPart,
    DatasetRef,
    ScoresFile,
    configuration_sha256,
    configuration_text,
    write_manifest,
)
from include.training.data.rows import draw_customers
from include.training.data.splits import TimeSplit, split_by_time, stratified_test, time_folds
from include.training.evaluation.requirements import Verdict, require_data, verdicts_document
from include.training.lineage import record_dataset_written
from include.training.recipe import ChampionRecipe

log = get_logger(__name__)

_KEYS = ["dt", "customer_id"]
_READ_ATTEMPTS = 3


@dataclass(frozen=True)
class PreparedDataset:
    """A data set that passed its checks, and the verdicts on the requirements."""

    dataset: DatasetRef
    verdicts: list[Verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return counts, references and verdicts as plain JSON types, for XCom."""
        return self.dataset.as_dict() | verdicts_document(self.verdicts)


def prepare_dataset(
    project: Project,
    lake: Lake,
    through: dt.date,
    out_dir: Path,
    champion: ChampionRecipe | None = None,
    request_reason: str = BY_HAND,
) -> PreparedDataset:
    """Build the data set and check its gold days and the project's data requirements.

    Args:
        project: The project.
        lake: Holds ``gold/features`` and ``gold/labels``.
        through: The last day; snapshots whose horizon has passed by its end are included.
        out_dir: The folder to write; see ``build_dataset``.
        champion: The champion's recipe; None without a champion.
        request_reason: Why the training was requested.

    Raises:
        DatasetError: Some gold days were built with other features or another label than the project's current ones, or
            ``build_dataset`` raised the error.
        RequirementsError: The data set misses a requirement whose mode is ``enabled``.
        TooFewSnapshotsError: There are too few matured snapshots for the test, the gap and the folds.
        TooFewCustomersError: Without time, there are too few churners or too few customers who stay.
    """
    dataset = build_dataset(project, lake, through, out_dir, champion, request_reason)
    features, labels = differing_definitions(project, lake, list(dataset.manifest.days))
    _require_same_definitions(features, FEATURES_TABLE)
    _require_same_definitions(labels, LABELS_TABLE)
    return PreparedDataset(dataset, require_data(project, dataset))


def build_dataset(
    project: Project,
    lake: Lake,
    through: dt.date,
    out_dir: Path,
    champion: ChampionRecipe | None = None,
    request_reason: str = BY_HAND,
) -> DatasetRef:
    """Write the data set of all labelled snapshots whose horizon has passed when ``through`` ends.

    Without time, the data set is the newest labelled gold day up to ``through``.

    Args:
        project: The project.
        lake: Holds ``gold/features`` and ``gold/labels``.
        through: The last day; a snapshot ``D`` is included if ``D + horizon <= through``.
        out_dir: The folder to write: ``train.parquet``, ``gap.parquet``, ``test.parquet`` (``dt``, ``customer_id``, the
            features, the label), ``champion_scores.parquet`` if the champion has scored matured snapshots,
            ``project.yaml`` and, last, ``manifest.json``.
        champion: The champion's recipe, which the manifest records; None without a champion.
        request_reason: Why the training was requested, which the manifest records.

    Raises:
        TooFewSnapshotsError: There are too few matured snapshots for the test, the gap and the folds.
        TooFewCustomersError: Without time, there are too few churners or too few customers who stay.
        DatasetError: Gold lacks a feature, or a label is neither 0 nor 1.
        LakeError: A gold table does not exist.
    """
    label = project.label
    feature_days = _matured_days(project, lake.table(FEATURES_TABLE).days(), through)
    label_days = set(lake.table(LABELS_TABLE).days())
    days = [day for day in feature_days if day in label_days]
    split = _split_days(project, days)
    rows, labelled, tables = _read_gold(project, lake, sorted({*split.train, *split.gap, *split.test}))
    in_gap, in_test = _on_days(rows, split.gap), _is_test(project, rows, split.test)
    in_train = pc.invert(pc.or_(in_gap, in_test))
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / MANIFEST_FILE).unlink(missing_ok=True)
    manifest = DatasetManifest(
        project=project.name,
        through=through,
        request_reason=request_reason,
        label=label.name,
        horizon_days=label.horizon_days,
        split="time" if project.has_time else "stratified",
        features=tuple(spec.name for spec in project.features),
        train=write_part(rows.filter(in_train), split.train, label.name, out_dir / "train.parquet"),
        gap=write_part(rows.filter(in_gap), split.gap, label.name, out_dir / "gap.parquet"),
        test=write_part(rows.filter(in_test), split.test, label.name, out_dir / "test.parquet"),
        unlabelled_days=tuple(day for day in feature_days if day not in label_days),
        labelled_rows=labelled,
        tables=tables,
        configuration_sha256=configuration_sha256(project),
        champion=champion,
        champion_scores=_write_champion_scores(project, lake, days, champion, out_dir),
    )
    (out_dir / PROJECT_FILE).write_text(configuration_text(project), encoding="utf-8")
    write_manifest(out_dir, manifest)
    reference = DatasetRef(out_dir, manifest)
    record_dataset_written(reference, rows.schema)
    log.info("data set written", extra={"dataset": reference.as_dict(), "unlabelled": len(manifest.unlabelled_days)})
    return reference


def column_checksums(rows: pa.Table) -> dict[str, str]:
    """Return the checksum of every column's values, in the order of the rows.

    The checksums do not depend on the Parquet file, whose bytes vary with the compression and the writer's version.
    Numbers that differ in one bit have different checksums; null and NaN have the same.

    Example:
        >>> whole, halves = pa.chunked_array([[1.0, 2.0]]), pa.chunked_array([[1.0], [2.0]])
        >>> column_checksums(pa.table({"a": whole})) == column_checksums(pa.table({"a": halves}))
        True
    """
    return {name: _column_checksum(rows[name]) for name in rows.column_names}


def _column_checksum(column: pa.ChunkedArray) -> str:
    plain = column.cast(pa.string()) if pt.is_temporal(column.type) else column
    values = pd.util.hash_pandas_object(plain.to_pandas(), index=False)
    return hashlib.sha256(values.to_numpy().tobytes()).hexdigest()


def _matured_days(project: Project, days: list[dt.date], through: dt.date) -> list[dt.date]:
    horizon = dt.timedelta(days=project.label.horizon_days)
    return [day for day in days if project.is_snapshot_day(day) and day + horizon <= through]


def _split_days(project: Project, days: list[dt.date]) -> TimeSplit:
    """Return the days of the training rows and of the test rows; without time, both are the same day."""
    if project.has_time:
        split = split_by_time(days, project.label.horizon_days, project.training.test_snapshots)
        time_folds(split.train, project.label.horizon_days, project.training.cv_folds)
        return split
    if not days:
        raise DatasetError(
            "No day has labelled rows.",
            where=LABELS_TABLE,
            remedy="Ingest the day of a delivery whose rows have a label, and train on that day or later.",
        )
    return TimeSplit((days[-1],), (days[-1],))


def _is_test(project: Project, rows: pa.Table, test_days: tuple[dt.date, ...]) -> pa.Array:
    if project.has_time:
        return _on_days(rows, test_days)
    churned = rows[project.label.name].to_numpy().astype(np.int8)
    training = project.training
    return pa.array(stratified_test(rows["customer_id"].to_pylist(), churned, training.test_share, training.seed))


def _on_days(rows: pa.Table, days: tuple[dt.date, ...]) -> pa.Array:
    return pc.is_in(rows["dt"], value_set=pa.array(days, type=rows["dt"].type))


def _read_gold(project: Project, lake: Lake, days: list[dt.date]) -> tuple[pa.Table, int | None, dict[str, int]]:
    """Return the rows, the number of rows from which the customers were drawn, and the versions of the tables."""
    label, features, training = project.label.name, [spec.name for spec in project.features], project.training
    label_rows, label_version = _read_versioned(lake, LABELS_TABLE, days, [*_KEYS, label])
    labels = set(pc.unique(label_rows[label]).to_pylist())
    if not labels <= {0, 1}:
        raise DatasetError(
            f"Labels are {sorted(map(str, labels))} instead of 0 and 1.",
            where=f"{LABELS_TABLE}, column {label}",
            remedy="Run churn_ingest again for the training days.",
        )
    labelled, drawn = label_rows.num_rows, None
    if training.max_rows and labelled > training.max_rows:
        drawn = draw_customers(label_rows["customer_id"], training.max_rows, "training", training.seed)
        label_rows = _of_customers(label_rows, drawn)
        log.info("rows of a sample of customers", extra={"rows": label_rows.num_rows, "labelled_rows": labelled})
    feature_rows, feature_version = _read_versioned(lake, FEATURES_TABLE, days, [*_KEYS, *features], drawn)
    rows = feature_rows.join(label_rows, keys=_KEYS, join_type="inner").sort_by([(key, "ascending") for key in _KEYS])
    if rows.num_rows < feature_rows.num_rows:
        log.warning("feature rows without a label left out", extra={"rows": feature_rows.num_rows - rows.num_rows})
    versions = {FEATURES_TABLE: feature_version, LABELS_TABLE: label_version}
    return rows, labelled if drawn is not None else None, versions


def _read_versioned(
    lake: Lake, name: str, days: list[dt.date], columns: list[str], customers: pa.Array | None = None
) -> tuple[pa.Table, int]:
    """Return the rows of days from one version of a table; those of all customers by default."""
    table = lake.table(name)
    present = table.schema().names
    missing = [column for column in columns if column not in present]
    if missing:
        raise DatasetError(
            f"The table lacks {counted(len(missing), 'column')}, such as {missing[0]!r}.",
            where=name,
            remedy="Ingest the training days again with the project's current features.",
        )
    for _ in range(_READ_ATTEMPTS):
        version = table.version()
        if customers is None:
            rows = table.read(days, columns)
        else:  # day by day, since the rows of all customers may not fit into memory
            rows = pa.concat_tables(_of_customers(table.read([day], columns), customers) for day in days)
        if table.version() == version:
            return rows, version
    raise ConflictError(
        "The table was written to during every attempt to read it.",
        where=name,
        remedy="Run the training again when the ingest has finished.",
    )


def _of_customers(rows: pa.Table, customers: pa.Array) -> pa.Table:
    return rows.filter(pc.is_in(rows["customer_id"], value_set=customers))


def write_part(part: pa.Table, days: tuple[dt.date, ...], label: str, path: Path) -> DatasetPart:
    """Write the rows of a part, and return its entry in the manifest.

    Args:
        part: The rows.
        days: The snapshot days.
        label: The label's column.
        path: The Parquet file.
    """
    pq.write_table(part, path)
    positives = int(pc.sum(part[label]).as_py() or 0)
    return DatasetPart(
        file=path.name,
        days=days,
        rows=part.num_rows,
        positives=positives,
        sha256=file_checksum(path),
        columns=column_checksums(part),
    )


def _write_champion_scores(
    project: Project, lake: Lake, days: list[dt.date], champion: ChampionRecipe | None, out_dir: Path
) -> ScoresFile | None:
    """Write the champion's scores of snapshots whose labels lie after the labels that it was fitted on."""
    if champion is None or not project.has_time:
        return None
    known = champion.trained_through + dt.timedelta(days=project.label.horizon_days)
    table = lake.table(SCORES_TABLE)
    later = [day for day in table.days() if day > known and day in set(days)]
    if not later:
        return None
    scores = table.read(later, [*_KEYS, "churn_probability", "model_version"])
    own = scores.filter(pc.equal(scores["model_version"], champion.version)).drop_columns("model_version")
    if not own.num_rows:
        return None
    path = out_dir / "champion_scores.parquet"
    pq.write_table(own.sort_by([(key, "ascending") for key in _KEYS]), path)
    return ScoresFile(file=path.name, sha256=file_checksum(path))


def _require_same_definitions(differing: Mapping[dt.date, Sequence[str]], table: str) -> None:
    if not differing:
        return
    first, last = min(differing), max(differing)
    names = sorted({name for names in differing.values() for name in names})
    raise DatasetError(
        f"{len(differing)} training days, {first} to {last}, were built with another definition of "
        f"{_first_three(names)}.",
        where=table,
        remedy="Ingest them again with the current configuration: bin/airflow dags trigger churn_ingest --conf "
        f'\'{{"from_day": "{first}", "to_day": "{last}"}}\'',
    )


def _first_three(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
