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
    from include.training.data.dataset import DatasetManifest

PROJECT_FILE = "project.yaml"


class ConfigurationError(ChurnflowError):
    """A recorded configuration cannot be read."""


class ProjectMismatchError(ChurnflowError):
    """A data set was not made for the project as it is configured now."""


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


def require_match(project: Project, manifest: DatasetManifest, folder: Path) -> None:
    """Check that the data set in ``folder`` was made for ``project`` as it is configured now.

    Raises:
        ProjectMismatchError: It was made for another project, other features or another horizon.
    """
    wanted = (project.name, tuple(spec.name for spec in project.features), project.label.horizon_days)
    if wanted != (manifest.project, manifest.features, manifest.horizon_days):
        raise ProjectMismatchError(
            f"The data set was made for project {manifest.project!r} with {len(manifest.features)} features and a "
            f"horizon of {manifest.horizon_days} days, which is not how {project.name!r} is configured now.",
            where=str(folder),
            remedy="Build the data set again, or set CHURN_PROJECT to its project.",
        )
