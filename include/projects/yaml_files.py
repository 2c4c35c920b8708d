"""The YAML files of a project's folder: their keys, their base model, and the line of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

# file -> the keys of Project that it contains, each with its key in the file; None means the whole file
FILES: dict[str, dict[str, str | None]] = {
    "project.yaml": {
        key: key
        for key in (
            "title",
            "description",
            "owner",
            "first_day",
            "lateness_days",
            "timezone",
            "keep_days",
            "population",
            "snapshots",
        )
    },
    "sources.yaml": {"sources": "sources"},
    "checks.yaml": {"checks": "silver", "gold_checks": "gold"},
    "features.yaml": {"derived_columns": "columns", "feature_families": "features"},
    "label.yaml": {"label": None},
    "requirements.yaml": {"requirements": None},
    "training.yaml": {"training": None},
    "monitoring.yaml": {"monitoring": None},
    "readiness.yaml": {"readiness": None},
}
_OPTIONAL = "readiness.yaml"
"""The file that a project need not have."""


class Config(BaseModel):
    """The base of all configuration models: unknown keys, NaN and infinity are errors, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Problem:
    """A problem in a project's folder.

    Attributes:
        file: The file within the folder.
        line: The line, from 1; None if the problem has no line.
        key: The key, with dots; empty for a problem of the whole file.
        what: The problem, as the end of a sentence that begins with the key or file.
        remedy: The action that solves the problem.
    """

    file: str
    line: int | None
    key: str
    what: str
    remedy: str

    @property
    def place(self) -> str:
        """The file and, if known, the line."""
        return f"{self.file}, line {self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"Key {self.key!r} {self.what}." if self.key else f"The file {self.what}."


@dataclass(frozen=True)
class ProjectFiles:
    """The contents of a folder.

    Attributes:
        content: The values, by the keys of ``Project``.
        nodes: The YAML document of each readable file, with line numbers.
        problems: The problems of the files themselves.
    """

    content: dict[str, Any]
    nodes: dict[str, yaml.Node]
    problems: tuple[Problem, ...]

    def problem(self, location: Sequence[str | int], what: str, remedy: str) -> Problem:
        """Return a problem with its file, line and key.

        Args:
            location: The path of keys and list positions below ``Project``.
            what: The problem, as the end of a sentence.
            remedy: The action that solves the problem.
        """
        file, path = _in_file(location)
        key, line = _follow(self.nodes.get(file), path)
        return Problem(file, line, key, what, remedy)


def read_files(folder: Path) -> ProjectFiles:
    """Read all files of a project's folder; an unreadable file becomes a problem."""
    content: dict[str, Any] = {}
    nodes: dict[str, yaml.Node] = {}
    problems: list[Problem] = []
    for file, keys in FILES.items():
        if file == _OPTIONAL and not (folder / file).exists():
            continue
        try:
            node, part = _parse(folder / file, file)
        except _UnreadableError as error:
            problems.append(error.problem)
            continue
        nodes[file] = node
        problems += _repeated_keys(file, node)
        names = {source: key for key, source in keys.items() if source is not None}
        if not names:
            content |= dict.fromkeys(keys, part)
            continue
        problems += [
            Problem(file, _line_of(node, key), str(key), "is not a known key", f"Use only {sorted(names)}.")
            for key in part
            if key not in names
        ]
        content |= {key: part[source] for source, key in names.items() if source in part}
    return ProjectFiles(content, nodes, tuple(problems))


class _UnreadableError(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.what)


def _parse(path: Path, file: str) -> tuple[yaml.Node, dict[Any, Any]]:
    def unreadable(what: str, remedy: str, line: int | None = None) -> _UnreadableError:
        return _UnreadableError(Problem(file, line, "", what, remedy))

    try:
        loader = yaml.CSafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        content = loader.construct_document(node) if node is not None else None
    except FileNotFoundError as error:
        raise unreadable("is missing", "Copy it from include/projects/grocery/ and adapt it.") from error
    except UnicodeDecodeError as error:
        raise unreadable("is not UTF-8 text", "Save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError) as error:  # a ValueError means an impossible date or number
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error) or "its syntax is wrong"
        line = mark.line + 1 if mark else None
        raise unreadable(f"is not valid YAML: {what}", "Correct its syntax.", line) from error
    if node is None or not isinstance(content, dict):
        raise unreadable("has no keys", "Write it as a mapping of keys.")
    return node, content


def _repeated_keys(file: str, node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Return the repeated keys of each mapping, where YAML silently uses the last value."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(file, item, path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        here = (*path, str(key.value))
        if key.value in seen and key.value != "<<":
            yield Problem(file, key.start_mark.line + 1, ".".join(here), "is given twice", "Keep one of them.")
        seen.add(key.value)
        yield from _repeated_keys(file, value, here)


def _in_file(location: Sequence[str | int]) -> tuple[str, list[str | int]]:
    head, rest = location[0], list(location[1:])
    for file, keys in FILES.items():
        if head in keys:
            source = keys[str(head)]
            return file, rest if source is None else [source, *rest]
    return "project.yaml", list(location)


def _follow(node: yaml.Node | None, path: Sequence[str | int]) -> tuple[str, int | None]:
    """Return the path in dotted form, and the line of its last existing key."""
    dotted: list[str] = []
    line: int | None = None
    for part in path:
        if node is None:
            dotted.append(str(part))
        elif isinstance(node, yaml.MappingNode):
            # Pydantic's path contains the chosen kind of a union, such as a label's; it is not a key of the file.
            pairs = {str(key.value): (key, value) for key, value in node.value}
            chosen = [pairs[key][1].value for key in ("kind", "function") if key in pairs]
            if part in chosen and part not in pairs:
                continue
            dotted.append(str(part))
            found = pairs.get(str(part))
            line = found[0].start_mark.line + 1 if found else line or node.start_mark.line + 1
            node = found[1] if found else None
        elif isinstance(node, yaml.SequenceNode):
            node = _item(node, part)
            dotted.append((_name_of(node) if isinstance(part, int) else None) or str(part))
            line = node.start_mark.line + 1 if node is not None else line
        else:
            dotted.append(str(part))
            node = None
    return ".".join(dotted), line


def _item(node: yaml.SequenceNode, part: str | int) -> yaml.Node | None:
    if isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    # A feature is identified by its name; an entry with windows has one name per window.
    for item in node.value:
        pattern = re.escape(_name_of(item) or "").replace(re.escape("{window}"), r"\d+")
        if re.fullmatch(pattern, part):
            return item  # type: ignore[no-any-return]
    return None


def _name_of(node: yaml.Node | None) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((str(value.value) for key, value in node.value if key.value == "name"), None)


def _line_of(node: yaml.Node, name: object) -> int | None:
    return next((key.start_mark.line + 1 for key, _ in node.value if str(key.value) == str(name)), None)
