"""The registry's view of a project: versions of its model, their bundles, and the aliases that say which one counts.

``challenger`` is the version trained last, ``champion`` the one that serves, ``previous`` the champion before it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

import mlflow
from mlflow.exceptions import MlflowException

from include.errors import ChurnflowError
from include.settings import Settings
from include.training.model.bundle import Bundle

Alias = Literal["challenger", "champion", "previous"]
_BUNDLE_PATH = "data/bundle"
"""The bundle's folder inside a logged model: MLflow keeps a model's data below ``data/``."""
_RETRIES = "4"
"""MLflow's own seven, each after twice the pause, take more than four minutes to say that a server is down."""


class RegistryError(ChurnflowError):
    """The registry does not answer, or does not hold what was asked of it."""


class Registry:
    """The versions of one project's model.

    Args:
        settings: Name the project and the tracking server, which keeps the registry too.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = f"churn-{settings.project}"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)  # the client has no other way to be told
        self.tracking_uri = settings.mlflow.tracking_uri
        self._client = mlflow.MlflowClient(self.tracking_uri, self.tracking_uri)

    def register(self, source: str, run_id: str, tags: dict[str, str]) -> str:
        """Make the model at ``source``, logged by run ``run_id``, a new version, and return its number."""
        if not self._client.search_registered_models(filter_string=f"name = '{self.name}'"):
            self._client.create_registered_model(self.name)
        # The server checks that the source is the logged model that it is told of.
        model_id = source.removeprefix("models:/")
        version = self._client.create_model_version(self.name, source, run_id, tags=tags, model_id=model_id)
        return str(version.version)

    def version_of(self, alias: Alias) -> str | None:
        """Return the version that ``alias`` names; ``None`` when it names none yet."""
        models = self._client.search_registered_models(filter_string=f"name = '{self.name}'")
        version = dict(models[0].aliases).get(alias) if models else None
        return None if version is None else str(version)

    def require(self, alias: Alias) -> str:
        """Return the version that ``alias`` names.

        Raises:
            RegistryError: It names none.
        """
        version = self.version_of(alias)
        if version is None:
            raise RegistryError(
                f"No version has the alias {alias!r} yet.",
                where=f"{self.name} at {self.tracking_uri}",
                remedy="Run churn_train first.",
            )
        return version

    def restore_champion(self, version: str) -> None:
        """Name ``version`` champion again, and the one that it takes over from ``previous``."""
        current = self.version_of("champion")
        if current is not None and current != version:
            self.set_alias("previous", current)
        self.set_alias("champion", version)

    def set_alias(self, alias: Alias, version: str) -> None:
        """Make ``alias`` name ``version``."""
        self._client.set_registered_model_alias(self.name, alias, version)

    def describe(self, version: str, text: str, tags: dict[str, str]) -> None:
        """Set the description that the registry shows for ``version``, of 5,000 characters at most, and its tags."""
        self._client.update_model_version(self.name, version, text)
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version, key, value)

    def bundle(self, version: str) -> Bundle:
        """Return the bundle of ``version``.

        Raises:
            RegistryError: The registry does not answer, or holds no such version or bundle.
            BundleError: What it holds is damaged.
        """
        with tempfile.TemporaryDirectory(prefix="churn-bundle-") as folder:
            try:
                model = self._client.get_model_version_download_uri(self.name, version)
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{model}/{_BUNDLE_PATH}", dst_path=folder, tracking_uri=self.tracking_uri
                )
            except MlflowException as error:
                raise self._unavailable("bundle", version, error) from error
            return Bundle.load(Path(path))

    def document(self, version: str, name: str) -> bytes | None:
        """Return the file ``name`` that the run of ``version`` keeps; ``None`` when it keeps no such file.

        Raises:
            RegistryError: The registry does not answer, or holds no such version.
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

    def _unavailable(self, what: str, version: str, error: MlflowException) -> RegistryError:
        return RegistryError(
            f"The model's {what} cannot be fetched: {error.message}",
            where=f"{self.name} version {version} at {self.tracking_uri}",
            remedy="Check the version and that the tracking server runs.",
        )
