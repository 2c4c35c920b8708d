from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.days import DayRange
from include.lake import Lake, LakeError
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from include.projects.readiness import Readiness
from include.settings import ProjectMismatchError, Settings
from include.training.data.build import build_dataset, column_checksums
from include.training.data.dataset import (
    ConfigurationError,
    DatasetError,
    DatasetRef,
    DataVersion,
    configuration_sha256,
    configuration_text,
    load_dataset,
    read_configuration,
    record_data_version,
    recorded_project,
)
from include.training.data.splits import TooFewSnapshotsError
from tests.training.gold import LAST_DAY, snapshot_days, without_family, write_gold


def test_data_set_has_matured_snapshots_split_by_time(dataset: DatasetRef, project: Project) -> None:
    manifest = dataset.manifest
    train, test = (pq.read_table(dataset.folder / part.file) for part in (manifest.train, manifest.test))
    assert train.column_names == ["dt", "customer_id", *[spec.name for spec in project.features], "churned"]
    assert (train.num_rows, test.num_rows) == (manifest.train.rows, manifest.test.rows)
    assert test.num_rows == 4 * 120
    assert max(train["dt"].to_pylist()) + dt.timedelta(days=28) < min(test["dt"].to_pylist())
    assert sum(train["churned"].to_pylist()) == manifest.train.positives
    assert manifest.tables == {FEATURES_TABLE: 1, LABELS_TABLE: 1}


def test_excludes_immature_labels(project: Project, gold: Lake, tmp_path: Path) -> None:
    days = snapshot_days(project, 30)
    through = days[-1] + dt.timedelta(days=27)
    built = build_dataset(project, gold, through, tmp_path)
    assert built.manifest.test.days[-1] == days[-2]
    assert build_dataset(project, gold, days[-1] + dt.timedelta(days=28), tmp_path).manifest.test.days[-1] == days[-1]


def test_excludes_days_between_snapshots(project: Project, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    snapshots = snapshot_days(project, 20)
    write_gold(lake, project, sorted([*snapshots, snapshots[3] + dt.timedelta(days=2)]), customers=30)
    manifest = build_dataset(project, lake, LAST_DAY, tmp_path / "dataset").manifest
    assert all(project.is_snapshot_day(day) for day in (*manifest.train.days, *manifest.test.days))


def test_approvals_do_not_change_the_configuration_of_a_data_set(project: Project) -> None:
    changed = project.model_copy(update={"readiness": Readiness(stale_after_days=5)})
    assert configuration_sha256(changed) == configuration_sha256(project)


def test_build_is_reproducible(project: Project, gold: Lake, dataset: DatasetRef, tmp_path: Path) -> None:
    again = build_dataset(project, gold, LAST_DAY, tmp_path)
    assert again.manifest == dataset.manifest
    assert load_dataset(tmp_path) == again


def test_column_checksums_do_not_depend_on_the_file(dataset: DatasetRef, tmp_path: Path) -> None:
    rows = pq.read_table(dataset.folder / "test.parquet")
    pq.write_table(rows, tmp_path / "other.parquet", compression="zstd", row_group_size=50)
    assert (tmp_path / "other.parquet").read_bytes() != (dataset.folder / "test.parquet").read_bytes()
    assert column_checksums(pq.read_table(tmp_path / "other.parquet")) == dataset.manifest.test.columns


@pytest.mark.parametrize("column", ["days_since_purchase", "customer_id", "dt"])
def test_column_checksums_depend_on_every_value(dataset: DatasetRef, column: str) -> None:
    rows = pq.read_table(dataset.folder / "test.parquet")
    values = rows[column].to_pylist()
    values[-1] = next(value for value in values if value != values[-1])
    place = rows.schema.get_field_index(column)
    changed = rows.set_column(place, column, pa.array(values, rows.schema.field(column).type))
    checksums, recorded = column_checksums(changed), dataset.manifest.test.columns
    assert {name for name in recorded if checksums[name] != recorded[name]} == {column}


def without_readiness(project: Project) -> Project:
    return project.model_copy(update={"readiness": Readiness()})


def test_configuration_is_stored_with_the_rows(project: Project, dataset: DatasetRef, tmp_path: Path) -> None:
    assert read_configuration(dataset.folder / "project.yaml") == without_readiness(project)
    (tmp_path / "project.yaml").write_text("name: grocery\nlabel: removed\n")
    with pytest.raises(ConfigurationError, match="version of the code"):
        read_configuration(tmp_path / "project.yaml")


def test_only_the_recorded_configuration_is_used(project: Project, dataset: DatasetRef, dataset_copy: Path) -> None:
    settings = Settings(project="grocery")
    assert recorded_project(dataset, settings) == without_readiness(project)
    with pytest.raises(ProjectMismatchError, match=r"grocery.*subscription"):
        recorded_project(dataset, Settings(project="subscription"))
    (dataset_copy / "project.yaml").write_text(configuration_text(without_family(project, "baskets_{window}d")))
    with pytest.raises(ConfigurationError, match="differs from the configuration that the data set was built with"):
        recorded_project(load_dataset(dataset_copy), settings)


def test_manifest_records_the_data_version(dataset_copy: Path) -> None:
    version = DataVersion(revision="0" * 32, remote="s3://data", files=2, bytes=9, tables={"bronze/transactions": 4})
    noted = record_data_version(dataset_copy, version)
    assert load_dataset(dataset_copy) == noted
    assert noted.manifest.all_tables == {FEATURES_TABLE: 1, LABELS_TABLE: 1, "bronze/transactions": 4}


def test_excludes_customers_without_a_label(project: Project, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    days = snapshot_days(project, 20)
    write_gold(lake, project, days, customers=30)
    labels = lake.table(LABELS_TABLE)
    kept = labels.read([days[0]]).sort_by("customer_id").slice(0, 10)
    labels.replace(DayRange.single(days[0]), kept)
    built = build_dataset(project, lake, LAST_DAY, tmp_path / "dataset").manifest
    assert built.train.rows == len(built.train.days) * 30 - 20
    assert built.tables[LABELS_TABLE] == 2


def test_manifest_lists_unlabelled_days(project: Project, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    days = snapshot_days(project, 20)
    write_gold(lake, project, days, customers=30)
    labels = lake.table(LABELS_TABLE)
    labels.replace(DayRange.single(days[2]), labels.read([]))
    assert build_dataset(project, lake, LAST_DAY, tmp_path / "dataset").manifest.unlabelled_days == (days[2],)


def test_rejects_too_few_snapshots(project: Project, gold: Lake, tmp_path: Path) -> None:
    with pytest.raises(TooFewSnapshotsError, match="are missing"):
        build_dataset(project, gold, dt.date(2017, 6, 1), tmp_path)


def test_rejects_empty_gold(project: Project, gold: Lake, tmp_path: Path) -> None:
    empty = Lake(str(tmp_path / "lake"))
    with pytest.raises(TooFewSnapshotsError, match="0 matured snapshots"):
        build_dataset(project, empty, LAST_DAY, tmp_path / "dataset")
    with pytest.raises(LakeError):
        empty.table(FEATURES_TABLE).version()


def test_rejects_gold_without_a_feature(project: Project, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    days = snapshot_days(project, 20)
    write_gold(lake, without_family(project, "days_since_purchase"), days, customers=20)
    with pytest.raises(DatasetError, match="days_since_purchase"):
        build_dataset(project, lake, LAST_DAY, tmp_path / "dataset")


def test_rejects_labels_other_than_0_and_1(project: Project, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    days = snapshot_days(project, 20)
    write_gold(lake, project, days, customers=20)
    labels = lake.table(LABELS_TABLE)
    rows = labels.read([days[0]])
    wrong = rows.set_column(rows.schema.get_field_index("churned"), "churned", pa.array([2] * 20, pa.int32()))
    labels.replace(DayRange.single(days[0]), wrong)
    with pytest.raises(DatasetError, match="instead of 0 and 1"):
        build_dataset(project, lake, LAST_DAY, tmp_path / "dataset")


def test_rejects_changed_file(dataset_copy: Path) -> None:
    with (dataset_copy / "train.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DatasetError, match=r"train\.parquet"):
        load_dataset(dataset_copy)


def test_rejects_partly_written_data_set(dataset_copy: Path) -> None:
    (dataset_copy / "manifest.json").unlink()
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        load_dataset(dataset_copy)
