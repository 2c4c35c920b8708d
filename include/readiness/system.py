"""The system as the checks see it, and the evidence that they return."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from include.errors import ChurnflowError
from include.lake import Lake, open_lake
from include.projects import Project
from include.serving.deployment.state import BentoReference, open_state
from include.settings import ROOT, Settings

if TYPE_CHECKING:
    from include.training.release.registry import Alias, Registry, VersionRecord


class NotReadyError(ChurnflowError):
    """Something that a check reads does not exist."""


@dataclass(frozen=True)
class Evidence:
    """What a check has found.

    Attributes:
        passed: Whether it shows what the check requires.
        text: What was checked, and what was found, in sentences.
        figure: The decisive figure; empty for none.
        time: The time at which the evidence was made; None if there is none.
        link: A report, relative to the folder of reports, or a URL; empty for none.
    """

    passed: bool
    text: str
    figure: str = ""
    time: dt.datetime | None = None
    link: str = ""


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry.

    Attributes:
        registry: The registry.
        version: The version.
    """

    registry: Registry
    version: str

    @cached_property
    def record(self) -> VersionRecord:
        """The run, the tags and the metrics of the version."""
        return self.registry.record(self.version)

    def document(self, name: str) -> bytes | None:
        """Return a file of the version's run; None if the run does not have it.

        Args:
            name: The path of the artifact.
        """
        return self.registry.document(self.version, name)

    @property
    def link(self) -> str:
        """The address of the version's page in MLflow; empty without a server."""
        uri = self.registry.tracking_uri
        return f"{uri}/#/models/{self.registry.name}/versions/{self.version}" if uri.startswith("http") else ""


@dataclass(frozen=True)
class System:
    """A deployment at a point in time.

    Attributes:
        settings: The deployment.
        project: The project.
        now: The present time.
        root: The folder of the product's own files.
    """

    settings: Settings
    project: Project
    now: dt.datetime
    root: Path = ROOT

    @cached_property
    def lake(self) -> Lake:
        """The lake of the project."""
        return open_lake(self.settings)

    def model(self, alias: Alias) -> RegisteredModel:
        """Return the registered model with an alias.

        Args:
            alias: ``challenger`` for the version trained last, ``champion`` for the version to serve.

        Raises:
            RegistryError: The alias names no version.
            NotReadyError: The registry does not answer. It is not asked again, so that the checks wait only once.
        """
        registry = self._registry
        if isinstance(registry, NotReadyError):
            raise registry
        return RegisteredModel(registry, registry.require(alias))

    @cached_property
    def _registry(self) -> Registry | NotReadyError:
        from mlflow.exceptions import MlflowException

        from include.training.release.registry import Registry

        registry = Registry(self.settings)
        try:
            registry.version_of("champion")
        except MlflowException as error:
            return NotReadyError(
                f"The registry does not answer as expected ({error.error_code}).",
                where=registry.tracking_uri,
                remedy="Check that the tracking server runs, and that this process has access.",
            )
        return registry

    def served(self) -> BentoReference:
        """Return the Bento that serves.

        Raises:
            NotReadyError: No model is deployed.
            ServingStateError: The serving state cannot be read.
        """
        state = open_state(self.settings)
        served = state.served()
        if served is None:
            raise NotReadyError("No model is deployed.", where=state.where, remedy="Run churn_deploy.")
        return served

    def report(self, path: str) -> str:
        """Return the path of a report below the folder of reports; empty if the report does not exist."""
        return path if (self.settings.reports_dir / path).is_file() else ""

    def text(self, path: str) -> str:
        """Return the text of a file of the product.

        Args:
            path: The path of the file in the repository.

        Raises:
            NotReadyError: This installation does not contain the file.
        """
        try:
            return (self.root / path).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotReadyError(
                f"This installation does not contain {path}.",
                where=str(self.root),
                remedy="Run `python -m include.readiness` in a checkout of the repository, with the same settings.",
            ) from error

    def document(self, path: str) -> Any:
        """Return the content of a YAML or JSON file of the product.

        Args:
            path: The path of the file in the repository.

        Raises:
            NotReadyError: This installation does not contain the file, or the file is damaged.
        """
        try:
            return yaml.safe_load(self.text(path))
        except yaml.YAMLError as error:
            raise NotReadyError(
                "The file is not valid.", where=path, remedy="Restore it from the repository."
            ) from error


def modified(path: Path) -> dt.datetime:
    """Return the time at which a file was written, in UTC."""
    return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
