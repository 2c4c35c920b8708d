"""Read a project folder; every error names the file, the key and the remedy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from include.errors import ChurnflowError
from include.projects.problems import validate
from include.projects.project import Project
from include.projects.yaml_files import Problem, read_files

PROJECTS_DIR = Path(__file__).resolve().parent


class ProjectError(ChurnflowError):
    """A project folder that cannot be used."""


def project_names(root: Path = PROJECTS_DIR) -> list[str]:
    """Return the names of the projects below ``root``, sorted."""
    return sorted(path.parent.name for path in root.glob("*/project.yaml"))


@lru_cache(maxsize=8)
def load_project(name: str, root: Path = PROJECTS_DIR) -> Project:
    """Load and validate the project ``name``.

    Raises:
        ProjectError: The folder, a file or a key is missing, unknown or wrong.
    """
    project, problems = examine_project(name, root)
    if project is None:
        first = problems[0]
        more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ProjectError(
            f"{first}{more}",
            where=f"include/projects/{name}/{first.place}",
            remedy=f"{first.remedy} See all of it with: python -m include.projects check {name}",
        )
    return project


def examine_project(name: str, root: Path = PROJECTS_DIR) -> tuple[Project | None, list[Problem]]:
    """Return the project ``name``, or everything that is wrong with its folder.

    Raises:
        ProjectError: There is no such folder.
    """
    if name not in project_names(root):
        raise ProjectError(
            f"There is no project {name!r}.",
            where=f"include/projects/{name}/project.yaml",
            remedy=f"Set CHURN_PROJECT to one of {project_names(root)}, or create that folder.",
        )
    return validate(name, read_files(root / name))
