"""A file with any content gives a project or a list of problems, never a traceback."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from include.projects.loader import PROJECTS_DIR, examine_project
from include.projects.yaml_files import FILES, Problem

PROJECT = {file: yaml.safe_load((PROJECTS_DIR / "subscription" / file).read_text()) for file in FILES}
WRONG: list[Any] = [
    [],
    {},
    None,
    5,
    -1,
    True,
    "",
    "x",
    "a b",
    [None],
    [{}],
    [5],
    {"a": 1},
    {5: None},
    {None: {}},
    "it's (",
]


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


PLACES = [(file, path) for file, content in PROJECT.items() for path in paths(content)]


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    content = copy.copy(content)
    content[path[0]] = changed(content[path[0]], path[1:], value)
    return content


def problems_of(texts: dict[str, str]) -> list[Problem]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PROJECTS_DIR / "subscription", Path(folder, "shop"))
        for file, text in texts.items():
            Path(folder, "shop", file).write_text(text)
        project, problems = examine_project("shop", Path(folder))
    assert (project is None) == bool(problems)
    return problems


@pytest.mark.parametrize("file", [file for file in FILES if file != "project.yaml"])
@pytest.mark.parametrize("value", [[], {}, None, 5, "x"], ids=repr)
def test_every_file_and_every_part_of_it_may_be_wrong(file: str, value: Any) -> None:
    assert problems_of({file: yaml.safe_dump(value)}) or file in ("checks.yaml", "readiness.yaml")
    content = PROJECT[file]
    for key in content:
        problems_of({file: yaml.safe_dump(content | {key: value})})


@given(place=st.sampled_from(PLACES), value=st.sampled_from(WRONG))
@settings(max_examples=60, deadline=None)
def test_any_value_may_be_wrong(place: tuple[str, tuple[Any, ...]], value: Any) -> None:
    file, path = place
    problems_of({file: yaml.safe_dump(changed(PROJECT[file], path, value))})


@pytest.mark.parametrize("file", ["features.yaml", "sources.yaml"])
def test_a_file_with_only_wrong_items_gives_their_problems(file: str) -> None:
    content = copy.deepcopy(PROJECT[file])
    if file == "features.yaml":
        for item in content["features"]:
            item["type"] = "magic"
    else:
        for item in content["sources"].values():
            del item["owner"]
    problems = problems_of({file: yaml.safe_dump(content)})
    assert {problem.file for problem in problems} == {file}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("project.yaml", "first_day: 2026-13-45\n"),
        ("project.yaml", f"lateness_days: {'9' * 5000}\n"),
        ("label.yaml", "? [a]\n: b\n"),
        ("label.yaml", "name: !!python/object:os.system {}\n"),
    ],
)
def test_impossible_yaml_is_a_problem(file: str, text: str) -> None:
    assert any(problem.file == file for problem in problems_of({file: text}))


def test_wrong_time_zone_is_one_problem() -> None:
    problems = problems_of({"project.yaml": yaml.safe_dump(PROJECT["project.yaml"] | {"timezone": "Mars"})})
    assert [problem.key for problem in problems] == ["timezone"]
