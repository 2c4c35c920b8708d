"""The training data set on disk: training rows, rows of the gap, test rows, the configuration and a manifest.

The manifest records the table versions and the checksums of the rows, so that a training can be repeated and its
result traced to its data. The folder contains everything that a training process or pod needs.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.errors import ChurnflowError
from include.local_files import file_checksum, write_atomically
from include.projects import Project
from include.settings import Settings, require_project
from include.training.commands import training_root
from include.training.recipe import ChampionRecipe

MANIFEST_FILE = "manifest.json"
PROJECT_FILE = "project.yaml"
RAW_FOLDER = "bronze"
POINTER_FILE = f"{RAW_FOLDER}.dvc"
BY_HAND = "by hand"
"""The reason of a training that no monitoring or schedule requested."""


class DatasetError(ChurnflowError):
    """A training data set cannot be built from gold, or its folder is damaged."""


class ConfigurationError(ChurnflowError):
    """A recorded configuration cannot be read."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataVersion(_Frozen):
    """A DVC version of the project's raw data through a day.

    Attributes:
        revision: The checksum of all files: equal for equal raw data.
        remote: The folder or object-store address of the files, without credentials.
        files: Number of files.
        bytes: Their total size.
        tables: The Delta version of every bronze table read.
    """

    revision: str = Field(pattern=r"^[0-9a-f]{32}$")
    remote: str
    files: int
    bytes: int
    tables: dict[str, int]

    @property
    def pointer(self) -> str:
        """The content of the file ``bronze.dvc``, with which ``dvc pull`` fetches this version."""
        return pointer(self.revision)


class DatasetPart(_Frozen):
    """The training rows, the rows of the gap, or the test rows.

    Attributes:
        file: The Parquet file within the folder.
        days: The snapshot days, sorted; the gap may have none.
        rows: Number of rows.
        positives: Number of rows that churned.
        sha256: The file's checksum, which detects damage.
        columns: The checksum of every column's values, which does not depend on the file.
    """

    file: str
    days: tuple[dt.date, ...]
    rows: int
    positives: int
    sha256: str
    columns: dict[str, str]

    @property
    def positive_ratio(self) -> float:
        """The share of rows that churned; zero if there are no rows."""
        return self.positives / self.rows if self.rows else 0.0


class ScoresFile(_Frozen):
    """A Parquet file with scores: ``dt``, ``customer_id``, ``churn_probability``; its name and checksum."""

    file: str
    sha256: str


class DatasetManifest(_Frozen):
    """The content and the sources of a data set.

    Attributes:
        format: The version of this layout.
        project: The project.
        through: The last day of the data; snapshots that have matured by its end are included, with their labels as
            known when the data set was built.
        label: The label's column.
        horizon_days: Days after the snapshot that the label covers.
        split: How the test was chosen: by ``time``, or ``stratified`` by customer if the data has no time.
        features: The feature columns, in order.
        train: The training rows.
        gap: The rows of the days between training and test. Their labels were not known before the test.
        test: The test rows: later days, or other customers.
        unlabelled_days: Matured snapshot days with features but without labels; they are left out.
        labelled_rows: The labelled rows from which the customers were drawn; None if the data set has all rows.
        tables: The Delta version of every table read.
        configuration_sha256: The checksum of the project's configuration, which is in the file ``project.yaml``.
        data_version: The version of the raw data behind the tables; None until it is stored.
        champion_scores: The champion's scores of matured snapshots that it scored after its training; None if there
            are none.
        request_reason: Why the training was requested; it does not change the rows.
        champion: The recipe of the champion when the data set was built; None if there was no champion. The search
            starts with it, and the candidate is compared with it.
    """

    format: Literal[3] = 3
    project: str
    through: dt.date
    request_reason: str
    label: str
    horizon_days: int
    split: Literal["time", "stratified"] = "time"
    features: tuple[str, ...]
    train: DatasetPart
    gap: DatasetPart
    test: DatasetPart
    unlabelled_days: tuple[dt.date, ...]
    labelled_rows: int | None = None
    tables: dict[str, int]
    configuration_sha256: str
    data_version: DataVersion | None = None
    champion: ChampionRecipe | None = None
    champion_scores: ScoresFile | None = None

    @property
    def all_tables(self) -> dict[str, int]:
        """The Delta versions of the gold tables and of the bronze tables of the data version."""
        return self.tables | (self.data_version.tables if self.data_version else {})

    @property
    def fingerprint(self) -> str:
        """A checksum of the rows of all parts; it does not depend on the library that wrote the files."""
        return hashlib.sha256(json.dumps([part.columns for part in self.parts.values()]).encode()).hexdigest()

    @property
    def parts(self) -> dict[str, DatasetPart]:
        """The parts by name, in the order of their days."""
        return {"train": self.train, "gap": self.gap, "test": self.test}

    @property
    def days(self) -> tuple[dt.date, ...]:
        """The snapshot days of all parts, sorted."""
        return tuple(sorted({day for part in self.parts.values() for day in part.days}))


@dataclass(frozen=True)
class DatasetRef:
    """The folder of a data set, and its manifest."""

    folder: Path
    manifest: DatasetManifest

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and references as plain JSON types, for XCom."""
        manifest = self.manifest
        return {
            "folder": str(self.folder),
            "name": dataset_name(manifest.project, manifest.through),
            "through": str(manifest.through),
            "train_rows": manifest.train.rows,
            "test_rows": manifest.test.rows,
            "train_positive_ratio": round(manifest.train.positive_ratio, 4),
            "test_positive_ratio": round(manifest.test.positive_ratio, 4),
            "trained_through": str(manifest.days[-1]),
            "test_from": str(manifest.test.days[0]),
            "tables": manifest.tables,
            "fingerprint": manifest.fingerprint,
        }


def dataset_dir(settings: Settings, through: dt.date) -> Path:
    """Return the folder of a data set.

    Args:
        settings: The project and the home folder.
        through: The last day of the data set.
    """
    return training_root(settings) / dataset_name(settings.project, through)


def dataset_name(project: str, through: dt.date) -> str:
    """Return the path of a data set relative to the training folder, on the host and in a pod.

    Args:
        project: The project's name.
        through: The last day of the data set.
    """
    return f"{project}/{through}"


def load_dataset(folder: Path) -> DatasetRef:
    """Return the data set in ``folder``, after comparing its files with the manifest's checksums.

    Raises:
        DatasetError: A file is missing, unreadable or changed.
    """
    try:
        manifest = DatasetManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(folder, f"{MANIFEST_FILE} is missing or unreadable.") from error
    checksums = {part.file: part.sha256 for part in manifest.parts.values()}
    if manifest.champion_scores:
        checksums[manifest.champion_scores.file] = manifest.champion_scores.sha256
    for name, checksum in checksums.items():
        if not (folder / name).is_file() or file_checksum(folder / name) != checksum:
            raise _damaged(folder, f"{name} is missing or differs from its checksum.")
    return DatasetRef(folder, manifest)


def record_data_version(folder: Path, version: DataVersion) -> DatasetRef:
    """Record the version of the raw data in a data set's manifest.

    Args:
        folder: The data set's folder.
        version: The version of the raw data that the data set was built from.

    Raises:
        DatasetError: The data set is damaged.
    """
    dataset = load_dataset(folder)
    manifest = dataset.manifest.model_copy(update={"data_version": version})
    write_manifest(folder, manifest)
    return DatasetRef(folder, manifest)


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Write the manifest of a data set atomically.

    Args:
        folder: The data set's folder.
        manifest: The manifest.
    """
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def recorded_project(dataset: DatasetRef, settings: Settings) -> Project:
    """Return the project's configuration that a data set was built with.

    Every later step uses it instead of the current YAML files: a pod has the files of its image, and the files may be
    edited during a training.

    Args:
        dataset: The data set.
        settings: The configured project, which must be the data set's.

    Raises:
        ProjectMismatchError: The data set belongs to another project.
        ConfigurationError: The recorded configuration cannot be read, or differs from the manifest's checksum.
    """
    path, manifest = dataset.folder / PROJECT_FILE, dataset.manifest
    require_project(manifest.project, settings.project, what="The data set", where=dataset.folder)
    project = read_configuration(path)
    if configuration_sha256(project) != manifest.configuration_sha256:
        raise ConfigurationError(
            "The recorded configuration differs from the configuration that the data set was built with.",
            where=str(path),
            remedy="Build the data set again.",
        )
    return project


def configuration_text(project: Project) -> str:
    """Return the project as one YAML text, with all defaults, without its approvals, which affect no data set."""
    content = project.model_dump(mode="json", exclude={"readiness"})
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def configuration_sha256(project: Project) -> str:
    """Return the checksum of the configuration; it does not depend on the layout of the project's files."""
    return hashlib.sha256(configuration_text(project).encode()).hexdigest()


def read_configuration(path: Path) -> Project:
    """Return the project recorded at ``path``.

    Raises:
        ConfigurationError: The file is missing, or this version of the code cannot read it.
    """
    try:
        return Project.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            "This version of the code cannot read the recorded configuration.",
            where=str(path),
            remedy="Use the version of the code that built the data set.",
        ) from error


def pointer(revision: str) -> str:
    """Return the content of the file ``bronze.dvc`` for ``revision``."""
    return f"outs:\n- md5: {revision}.dir\n  hash: md5\n  path: {RAW_FOLDER}\n"


def _damaged(folder: Path, problem: str) -> DatasetError:
    return DatasetError(problem, where=f"data set {folder}", remedy="Build the data set again.")
