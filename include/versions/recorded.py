"""What a training run recorded about its data: enough to build the training set again."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.projects import Project
from include.settings import Settings
from include.training.data.configuration import PROJECT_FILE, read_configuration
from include.training.data.dataset import MANIFEST_FILE, DatasetManifest
from include.training.release.tracking import DATASET_ARTIFACT


class RecordError(ChurnflowError):
    """A run did not record its data, or what it recorded was changed."""


@dataclass(frozen=True)
class RecordedRun:
    """A training run's data.

    Attributes:
        run_id: The MLflow run.
        fingerprint: The training set's, as the run's tag has it.
        manifest: The training set's.
        project: The configuration that it was made with.
    """

    run_id: str
    fingerprint: str
    manifest: DatasetManifest
    project: Project

    @property
    def revision(self) -> str | None:
        """The version of the raw data; ``None`` when none was kept."""
        return self.manifest.data_version.revision if self.manifest.data_version else None


def recorded_run(settings: Settings, run_id: str) -> RecordedRun:
    """Read what run ``run_id`` recorded, from the tracking server alone.

    Raises:
        RecordError: There is no such run, it recorded no data set, or its records contradict each other.
        ConfigurationError: Its configuration is not one of this version of the code.
    """
    client = mlflow.MlflowClient(settings.mlflow.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="churn-record-") as scratch:
        try:
            tags = client.get_run(run_id).data.tags
            folder = Path(client.download_artifacts(run_id, DATASET_ARTIFACT, scratch))
            manifest = DatasetManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (MlflowException, OSError, ValidationError) as error:
            raise _bad(run_id, settings, "It cannot be read, or recorded no data set as trainings do now.") from error
        configuration = folder / PROJECT_FILE
        if not configuration.is_file() or _sha256(configuration) != manifest.configuration_sha256:
            raise _bad(run_id, settings, "Its configuration was removed or changed.")
        if tags.get("dvc.revision") != (manifest.data_version.revision if manifest.data_version else None):
            raise _bad(run_id, settings, "Its tag dvc.revision is not the revision in its manifest.")
        return RecordedRun(run_id, tags.get("fingerprint", ""), manifest, read_configuration(configuration))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bad(run_id: str, settings: Settings, what: str) -> RecordError:
    return RecordError(
        f"Run {run_id} cannot be reproduced. {what}",
        where=settings.mlflow.tracking_uri,
        remedy="Name the run of a training; `run_id` is in its result and in the registry.",
    )
