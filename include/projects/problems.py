"""Everything that is wrong with a project's folder, found in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.projects.project import Project
from include.projects.references import reference_problems
from include.projects.yaml_files import FILES, Problem, ProjectFiles

Location = tuple[str | int, ...]

_REMEDIES = {"missing": "Add the key.", "extra_forbidden": "Remove the key or correct its spelling."}

_MOVED: dict[Location, str] = {
    ("requirements", "metrics_mode"): "Write it as mode within metrics; data and performance have a mode of their own."
}
"""Keys that a file may still have from an earlier version, and where they went."""

_BY_NAME, _IN_ORDER = ("sources", "checks", "derived_columns"), ("feature_families",)
"""The parts of a project whose items are judged one by one."""


def validate(name: str, files: ProjectFiles) -> tuple[Project | None, list[Problem]]:
    """Return the project that ``files`` describe, or else everything that is wrong with them.

    What is wrong in one place does not hide what is wrong in another: the checks across files run on whatever is right
    by itself.
    """
    content = {"name": name, **files.content}
    try:
        project = Project.model_validate(content)
    except ValidationError as error:
        wrong = [(item["loc"], item) for item in error.errors() if item["loc"] and _was_read(item["loc"], files)]
        own = [_explain(files, location, item["type"], item["msg"]) for location, item in wrong]
        across = _problems_across(content, [location for location, _ in wrong], files)
        return None, [*files.problems, *own, *across]
    return (None if files.problems else project), list(files.problems)


def _was_read(location: Location, files: ProjectFiles) -> bool:
    # A file that cannot be read is a problem already; that its keys are missing is none.
    file = next((file for file, keys in FILES.items() if location[0] in keys), "project.yaml")
    return file in files.nodes


def _explain(files: ProjectFiles, location: Location, kind: str, message: str) -> Problem:
    what = f"is wrong: {message.removeprefix('Value error, ')}"
    return files.problem(location, what, _MOVED.get(location) or _REMEDIES.get(kind, "Correct the value."))


def _problems_across(content: dict[str, Any], wrong: Sequence[Location], files: ProjectFiles) -> list[Problem]:
    partial = _right_parts(content, wrong)
    found = reference_problems(
        partial,
        wrong_sources=set(content.get("sources") or ()) - set(partial.sources),
        features_are_wrong=any(location[0] == "feature_families" for location in wrong),
    )
    problems = [files.problem(location, what, "Correct the value.") for location, what in found]
    # A feature with five windows is one entry of its file.
    return list({(problem.place, problem.what): problem for problem in reversed(problems)}.values())[::-1]


def _right_parts(content: dict[str, Any], wrong: Sequence[Location]) -> Project:
    """Return a project of those sources, checks, features and other parts that are right by themselves."""
    bad = {location[:1] for location in wrong} | {location[:2] for location in wrong}
    values: dict[str, Any] = {}
    for name, field in Project.model_fields.items():
        value = content.get(name)
        if name in _BY_NAME and isinstance(value, dict):
            value = {key: item for key, item in value.items() if (name, key) not in bad}
        elif name in _IN_ORDER and isinstance(value, list):
            value = [item for position, item in enumerate(value) if (name, position) not in bad]
        elif value is None or (name,) in bad:
            values[name] = {} if name in _BY_NAME else [] if name in _IN_ORDER else None
            continue
        values[name] = TypeAdapter(field.rebuild_annotation()).validate_python(value)
    return Project.model_construct(**values)
