"""Read a project folder; every error names the file, the key and the remedy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.projects.project import Project

PROJECTS_DIR = Path(__file__).resolve().parent

# file -> the keys of Project that it fills; a key of None takes the whole file
_FILES: dict[str, dict[str, str | None]] = {
    "project.yaml": {},
    "sources.yaml": {"sources": "sources"},
    "checks.yaml": {"checks": "silver", "gold_checks": "gold"},
    "features.yaml": {"derived_columns": "columns", "feature_families": "features"},
    "label.yaml": {"label": None},
    "requirements.yaml": {"requirements": None},
    "training.yaml": {"training": None},
    "monitoring.yaml": {"monitoring": None},
}


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
    folder = root / name
    if name not in project_names(root):
        raise ProjectError(
            f"There is no project {name!r}.",
            where=f"include/projects/{name}/project.yaml",
            remedy=f"Set CHURN_PROJECT to one of {project_names(root)}, or create that folder.",
        )
    content: dict[str, Any] = {"name": name}
    for file, keys in _FILES.items():
        part = _read(folder / file)
        if not keys:
            content |= part
            continue
        named = {source for source in keys.values() if source}
        unknown = set(part) - named if named else set()
        if unknown:
            raise _problem(name, file, sorted(unknown)[0], "is not a known key", f"Use only {sorted(named)}.")
        content |= {key: part for key, source in keys.items() if source is None}
        content |= {key: part[source] for key, source in keys.items() if source in part}
    try:
        return Project.model_validate(content)
    except ValidationError as error:
        raise _explain(name, error) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError(
            "A file of the project is missing.",
            where=str(path),
            remedy="Copy it from include/projects/grocery/ and adapt it.",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ProjectError(
            "The file is not valid YAML.", where=f"{path}{line}", remedy="Correct its syntax."
        ) from error
    if not isinstance(content, dict):
        raise ProjectError("The file holds no keys.", where=str(path), remedy="Write it as a mapping of keys.")
    return content


def _explain(name: str, error: ValidationError) -> ProjectError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    message = first["msg"].removeprefix("Value error, ")
    file, key = _locate(location, message)
    remedy = {
        "missing": "Add the key.",
        "extra_forbidden": "Remove the key or correct its spelling.",
    }.get(first["type"], "Correct the value.")
    more = f" ({error.error_count() - 1} more problems)" if error.error_count() > 1 else ""
    return _problem(name, file, key, f"is wrong: {message}{more}", remedy)


def _locate(location: list[str], message: str) -> tuple[str, str]:
    # A check across files has no location; its message starts with the key.
    head = location[0] if location else message.split(".")[0].split(":")[0]
    head = {"features": "feature_families"}.get(head, head)
    for file, keys in _FILES.items():
        if head in keys:
            inner = keys[head]
            tail = location[1:] if inner is None else [inner, *location[1:]]
            return file, ".".join(tail) if location else message.split(":")[0]
    return "project.yaml", ".".join(location) if location else message.split(":")[0]


def _problem(name: str, file: str, key: str, what: str, remedy: str) -> ProjectError:
    return ProjectError(f"Key {key!r} {what}.", where=f"include/projects/{name}/{file}", remedy=remedy)
