"""The model registry of a project: versions, bundles and aliases.

The alias ``challenger`` names the version trained last, ``champion`` the version to serve, ``previous`` the champion
before it.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlflow
from mlflow.exceptions import MlflowException

from include.errors import ChurnflowError
from include.settings import Settings, require_project
from include.training.model.bundle import Bundle

Alias = Literal["challenger", "champion", "previous"]
_BUNDLE_PATH = "data/bundle"
"""The bundle's folder inside a logged model: MLflow stores a model's data below ``data/``."""
_TRANSIENT = {
    # MLflow's HTTP client reports a lost connection, a time-out, and 500 or 502 under this code.
    "INTERNAL_ERROR",
    "TEMPORARILY_UNAVAILABLE",  # 503
    "DEADLINE_EXCEEDED",  # 504
    "RESOURCE_EXHAUSTED",  # 429
    "REQUEST_LIMIT_EXCEEDED",
}


class RegistryError(ChurnflowError):
    """The registry lacks the requested version, alias or file, or refuses the request."""


class UnreachableRegistryError(RegistryError):
    """The registry or its artifact store does not answer."""

    can_retry = True


def registry_error(what: str, *, where: str, remedy: str, error: MlflowException) -> RegistryError:
    """Return the error for a failed request to the registry, whose class states whether a retry can help.

    Args:
        what: The cause, to which MLflow's message is added.
        where: The registry, model and version.
        remedy: The remedy.
        error: MLflow's error.
    """
    kind = UnreachableRegistryError if error.error_code in _TRANSIENT else RegistryError
    return kind(f"{what}: {error.message}", where=where, remedy=remedy)


def limit_requests(settings: Settings) -> None:
    """Set the time-outs and the retries of MLflow's requests in this process; MLflow has no parameters for them.

    MLflow's defaults, 120 s and 7 retries with doubled pauses, take 20 minutes until an unanswered request is an error.

    Args:
        settings: The time-out and the number of retries. Variables of the environment take precedence.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(settings.mlflow.timeout_seconds))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(settings.mlflow.retries))


@dataclass(frozen=True)
class VersionRecord:
    """The run of a version, the time of its registration, its tags, and the metrics of the run."""

    run_id: str
    registered: dt.datetime
    tags: dict[str, str]
    metrics: dict[str, float]


class Registry:
    """The versions of one project's model.

    Args:
        settings: The project and the tracking server, which includes the registry.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = f"churn-{settings.project}"
        self._project = settings.project
        limit_requests(settings)
        self.tracking_uri = settings.mlflow.tracking_uri
        self._client = mlflow.MlflowClient(self.tracking_uri, self.tracking_uri)

    def register(self, source: str, run_id: str, tags: dict[str, str]) -> str:
        """Register a logged model as a new version, and return the version.

        Args:
            source: The URI of the logged model.
            run_id: The run that logged it.
            tags: Tags of the version.
        """
        if not self._client.search_registered_models(filter_string=f"name = '{self.name}'"):
            self._client.create_registered_model(self.name)
        # The server checks that model_id and source are of the same logged model.
        model_id = source.removeprefix("models:/")
        version = self._client.create_model_version(self.name, source, run_id, tags=tags, model_id=model_id)
        return str(version.version)

    def version_of(self, alias: Alias) -> str | None:
        """Return the version that ``alias`` names; None if it names none."""
        models = self._client.search_registered_models(filter_string=f"name = '{self.name}'")
        version = dict(models[0].aliases).get(alias) if models else None
        return None if version is None else str(version)

    def require(self, alias: Alias) -> str:
        """Return the version that ``alias`` names.

        Raises:
            RegistryError: The alias names no version.
        """
        version = self.version_of(alias)
        if version is None:
            raise RegistryError(
                f"No version has the alias {alias!r}.",
                where=f"{self.name} at {self.tracking_uri}",
                remedy="Run churn_train first.",
            )
        return version

    def restore_champion(self, version: str) -> None:
        """Set the alias ``champion`` to ``version``, and ``previous`` to the champion that it replaces."""
        current = self.version_of("champion")
        if current is not None and current != version:
            self.set_alias("previous", current)
        self.set_alias("champion", version)

    def set_alias(self, alias: Alias, version: str) -> None:
        """Set an alias.

        Args:
            alias: The alias.
            version: The version to name.
        """
        self._client.set_registered_model_alias(self.name, alias, version)

    def describe(self, version: str, text: str, tags: dict[str, str]) -> None:
        """Set the description and tags of a version.

        Args:
            version: The version.
            text: The description, of at most 5,000 characters.
            tags: The tags to set.
        """
        self._client.update_model_version(self.name, version, text)
        self.set_tags(version, tags)

    def set_tags(self, version: str, tags: dict[str, str]) -> None:
        """Set tags of a version.

        Args:
            version: The version.
            tags: The tags to set.
        """
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version, key, value)

    def record(self, version: str) -> VersionRecord:
        """Return the run, the tags and the metrics of a version.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the version.
        """
        try:
            found = self._client.get_model_version(self.name, version)
            metrics = self._client.get_run(str(found.run_id)).data.metrics
        except MlflowException as error:
            raise self._unavailable("record", version, error) from error
        registered = dt.datetime.fromtimestamp(found.creation_timestamp / 1000, dt.UTC)
        return VersionRecord(str(found.run_id), registered, dict(found.tags), dict(metrics))

    def bundle(self, version: str) -> Bundle:
        """Return the bundle of ``version``.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the version or its bundle.
            BundleError: The bundle is damaged.
            ProjectMismatchError: The bundle is a model of another project.
        """
        with tempfile.TemporaryDirectory(prefix="churn-bundle-") as folder:
            return self.load(self.download_bundle(version, Path(folder)))

    def load(self, folder: Path) -> Bundle:
        """Return the downloaded bundle in a folder.

        Args:
            folder: The folder that ``download_bundle`` returned.

        Raises:
            BundleError: The bundle is damaged.
            ProjectMismatchError: The bundle is a model of another project.
        """
        bundle = Bundle.load(folder)
        where = f"{self.name} at {self.tracking_uri}"
        require_project(bundle.contract.project, self._project, what="The registered model", where=where)
        return bundle

    def download_bundle(self, version: str, folder: Path) -> Path:
        """Download the files of a bundle, and return their folder.

        Args:
            version: The version.
            folder: An empty folder.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the version or its bundle.
        """
        try:
            model = self._client.get_model_version_download_uri(self.name, version)
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{model}/{_BUNDLE_PATH}", dst_path=str(folder), tracking_uri=self.tracking_uri
            )
        except MlflowException as error:
            raise self._unavailable("bundle", version, error) from error
        return Path(path)

    def download_run(self, run_id: str, folder: Path) -> Path:
        """Download the artifacts of a run, and return their folder.

        Args:
            run_id: The run.
            folder: An empty folder.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the run.
        """
        try:
            path = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path="", dst_path=str(folder), tracking_uri=self.tracking_uri
            )
        except MlflowException as error:
            raise self._unavailable("run", run_id, error) from error
        return Path(path)

    def document(self, version: str, name: str) -> bytes | None:
        """Return the content of a file of a version's run; None if the run has no such file.

        Args:
            version: The version.
            name: The path of the artifact.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the version.
        """
        with tempfile.TemporaryDirectory(prefix="churn-run-") as folder:
            try:
                run_id = str(self._client.get_model_version(self.name, version).run_id)
                if name not in {artifact.path for artifact in self._client.list_artifacts(run_id)}:
                    return None
                path = mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=name, dst_path=folder, tracking_uri=self.tracking_uri
                )
            except MlflowException as error:
                raise self._unavailable(name, version, error) from error
            return Path(path).read_bytes()

    def store_document(self, version: str, name: str, text: str) -> None:
        """Store a file in a version's run.

        Args:
            version: The version.
            name: The path of the artifact.
            text: Its content.

        Raises:
            RegistryError: The registry cannot be reached, or lacks the version.
        """
        try:
            self._client.log_text(str(self._client.get_model_version(self.name, version).run_id), text, name)
        except MlflowException as error:
            raise self._unavailable(name, version, error) from error

    def _unavailable(self, item: str, version: str, error: MlflowException) -> RegistryError:
        return registry_error(
            f"The model's {item} cannot be fetched",
            where=f"{self.name} version {version} at {self.tracking_uri}",
            remedy="Check the version and that the tracking server runs.",
            error=error,
        )
