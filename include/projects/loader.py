"""Load and check a project folder; every error states the file, the key and the remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.projects.keep_days import check_keep_days
from include.projects.project import Project
from include.projects.references import check_references
from include.projects.yaml_files import FILES, Problem, ProjectFiles, read_files

PROJECTS_DIR = Path(__file__).resolve().parent

Location = tuple[str | int, ...]

_REMEDIES = {"missing": "Add the key.", "extra_forbidden": "Remove the key or correct its spelling."}

_MOVED_KEYS: dict[Location, str] = {
    ("requirements", "metrics_mode"): "Write it as mode within metrics; data and performance have a mode of their own.",
}
"""The remedies for keys of earlier versions."""

_PARTS_BY_NAME, _PARTS_IN_ORDER = ("sources", "checks", "derived_columns"), ("feature_families",)
"""The keys of a project with items that are validated one by one."""


class ProjectError(ChurnflowError):
    """A project folder is missing or invalid."""


def project_names(root: Path = PROJECTS_DIR) -> list[str]:
    """Return the names of the projects in ``root``, sorted."""
    return sorted(path.parent.name for path in root.glob("*/project.yaml"))


@lru_cache(maxsize=8)
def load_project(name: str, root: Path = PROJECTS_DIR) -> Project:
    """Load and validate a project.

    Args:
        name: The project's name.
        root: The folder that contains the projects.

    Raises:
        ProjectError: The folder, a file or a key is missing, unknown or invalid.
    """
    project, problems = examine_project(name, root)
    if project is None:
        first = problems[0]
        more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ProjectError(
            f"{first}{more}",
            where=f"include/projects/{name}/{first.place}",
            remedy=f"{first.remedy} Show all problems with: python -m include.projects check {name}",
        )
    return project


def examine_project(name: str, root: Path = PROJECTS_DIR) -> tuple[Project | None, list[Problem]]:
    """Return a project, or all problems of its folder.

    A problem in one place does not hide problems elsewhere: the checks across files run on all parts that are valid
    by themselves.

    Args:
        name: The project's name.
        root: The folder that contains the projects.

    Raises:
        ProjectError: The folder does not exist.
    """
    if name not in project_names(root):
        raise ProjectError(
            f"There is no project {name!r}.",
            where=f"include/projects/{name}/project.yaml",
            remedy=f"Set CHURN_PROJECT to one of {project_names(root)}, or create that folder.",
        )
    files = read_files(root / name)
    content = {"name": name, **files.content}
    invalid: list[Location] = []
    problems = list(files.problems)
    try:
        project = Project.model_validate(content)
    except ValidationError as error:
        errors = [item for item in error.errors() if _was_read(item["loc"], files)]
        invalid = [item["loc"] for item in errors]
        problems += [_explain(files, item["loc"], item["type"], item["msg"]) for item in errors]
        project = _valid_parts(content, invalid)
    problems += _cross_file_problems(project, content, invalid, files)
    if not problems:  # otherwise the project may be incomplete
        problems += [
            files.problem(("keep_days", name), what, "Raise the period, or shorten what needs it.")
            for name, what in check_keep_days(project)
        ]
    return (None if problems else project), problems


def _was_read(location: Location, files: ProjectFiles) -> bool:
    # An unreadable file is one problem; its missing keys are no further problems.
    file = next((file for file, keys in FILES.items() if location[0] in keys), "project.yaml")
    return file in files.nodes


def _explain(files: ProjectFiles, location: Location, kind: str, message: str) -> Problem:
    what = f"is wrong: {message.removeprefix('Value error, ')}"
    return files.problem(location, what, _MOVED_KEYS.get(location) or _REMEDIES.get(kind, "Correct the value."))


def _cross_file_problems(
    project: Project, content: dict[str, Any], invalid: Sequence[Location], files: ProjectFiles
) -> list[Problem]:
    sources = content.get("sources")
    found = check_references(
        project,
        invalid_sources=set(sources) - set(project.sources) if isinstance(sources, dict) else (),
        features_are_invalid=any(location[0] == "feature_families" for location in invalid),
    )
    problems = [files.problem(*finding) for finding in found]
    # The features of several windows are one entry of their file, so each problem is reported once.
    return list({(problem.place, problem.what): problem for problem in reversed(problems)}.values())[::-1]


def _valid_parts(content: dict[str, Any], invalid: Sequence[Location]) -> Project:
    """Return a project of the sources, checks, features and other parts that are valid by themselves."""
    bad = {location[:2] for location in invalid}
    values: dict[str, Any] = {}
    for name, field in Project.model_fields.items():
        value = content.get(name)
        if name in _PARTS_BY_NAME and isinstance(value, dict):
            value = {key: item for key, item in value.items() if (name, key) not in bad}
        elif name in _PARTS_IN_ORDER and isinstance(value, list):
            value = [item for position, item in enumerate(value) if (name, position) not in bad]
        values[name] = {} if name in _PARTS_BY_NAME else [] if name in _PARTS_IN_ORDER else None
        # Without its invalid items, a part can still be invalid, such as too short.
        with contextlib.suppress(ValidationError):
            values[name] = TypeAdapter(field.rebuild_annotation()).validate_python(value)
    return Project.model_construct(**values)
