"""The project's configuration as a data set was made with: one YAML file beside its rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.projects import Project

if TYPE_CHECKING:
    from include.settings import Settings
    from include.training.data.dataset import DatasetRef

PROJECT_FILE = "project.yaml"


class ConfigurationError(ChurnflowError):
    """A recorded configuration cannot be read."""


class ProjectMismatchError(ChurnflowError):
    """A data set is of another project."""


def configuration_text(project: Project) -> str:
    """Return the whole project as one YAML text, with every default written out."""
    return yaml.safe_dump(project.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def configuration_sha256(project: Project) -> str:
    """Return the checksum of the configuration: equal for equal projects, however they are laid out."""
    return hashlib.sha256(configuration_text(project).encode()).hexdigest()


def read_configuration(path: Path) -> Project:
    """Return the project recorded at ``path``.

    Raises:
        ConfigurationError: It is missing, or the code has no such configuration any more.
    """
    try:
        return Project.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            "The recorded configuration cannot be read by this version of the code.",
            where=str(path),
            remedy="Use the version of the code that made the data set.",
        ) from error


def recorded_project(dataset: DatasetRef, settings: Settings) -> Project:
    """Return the project as ``dataset`` was made with: everything after it uses that, whatever the YAML says by now.

    A pod has the YAML of its image, and somebody may edit the files while a training runs.

    Raises:
        ProjectMismatchError: The data set is of another project than the settings name.
        ConfigurationError: The recorded configuration cannot be read, or is not the one that the manifest names.
    """
    path, manifest = dataset.folder / PROJECT_FILE, dataset.manifest
    if manifest.project != settings.project:
        raise ProjectMismatchError(
            f"The data set is of project {manifest.project!r}, and CHURN_PROJECT is {settings.project!r}.",
            where=str(dataset.folder),
            remedy="Set CHURN_PROJECT to the data set's project.",
        )
    project = read_configuration(path)
    if configuration_sha256(project) != manifest.configuration_sha256:
        raise ConfigurationError(
            "The recorded configuration is not the one that the data set was made with.",
            where=str(path),
            remedy="Build the data set again.",
        )
    return project
