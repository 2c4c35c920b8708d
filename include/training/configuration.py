"""The project's configuration as a data set was made with: one YAML file beside its rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.projects import Project

PROJECT_FILE = "project.yaml"


class ConfigurationError(ChurnflowError):
    """A recorded configuration cannot be read."""


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
