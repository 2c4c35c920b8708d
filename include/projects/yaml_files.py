"""The YAML files of a project's folder: which one holds what, and on which line a key stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# file -> the keys of Project that it fills, each with its key there; a key of None takes the whole file
FILES: dict[str, dict[str, str | None]] = {
    "project.yaml": {
        key: key for key in ("title", "description", "owner", "first_day", "lateness_days", "population", "snapshots")
    },
    "sources.yaml": {"sources": "sources"},
    "checks.yaml": {"checks": "silver", "gold_checks": "gold"},
    "features.yaml": {"derived_columns": "columns", "feature_families": "features"},
    "label.yaml": {"label": None},
    "requirements.yaml": {"requirements": None},
    "training.yaml": {"training": None},
    "monitoring.yaml": {"monitoring": None},
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a project's folder.

    Attributes:
        file: The file within the folder.
        line: The line concerned, from 1; None when there is no such place.
        key: The key, with dots; empty when the whole file is concerned.
        what: What is wrong with it, as the end of a sentence.
        remedy: What to do about it.
    """

    file: str
    line: int | None
    key: str
    what: str
    remedy: str

    @property
    def place(self) -> str:
        """The file and, where known, the line."""
        return f"{self.file}, line {self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"Key {self.key!r} {self.what}." if self.key else f"The file {self.what}."


@dataclass(frozen=True)
class ProjectFiles:
    """What a folder holds.

    Attributes:
        content: What was read, by the keys of ``Project``.
        nodes: The parsed document of each file that could be read, which knows its lines.
        problems: What is wrong with the files themselves.
    """

    content: dict[str, Any]
    nodes: dict[str, yaml.Node]
    problems: tuple[Problem, ...]

    def problem(self, location: Sequence[str | int], what: str, remedy: str) -> Problem:
        """Return a problem at ``location``, a path of keys and list positions below ``Project``."""
        file, path = _in_file(location)
        key, line = _follow(self.nodes.get(file), path)
        return Problem(file, line, key, what, remedy)


def read_files(folder: Path) -> ProjectFiles:
    """Read every file of a project's folder, and go on after one that cannot be read."""
    content: dict[str, Any] = {}
    nodes: dict[str, yaml.Node] = {}
    problems: list[Problem] = []
    for file, keys in FILES.items():
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
    def refuse(what: str, remedy: str, line: int | None = None) -> _UnreadableError:
        return _UnreadableError(Problem(file, line, "", what, remedy))

    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        content = loader.construct_document(node) if node is not None else None
    except FileNotFoundError as error:
        raise refuse("is missing", "Copy it from include/projects/grocery/ and adapt it.") from error
    except UnicodeDecodeError as error:
        raise refuse("is not UTF-8 text", "Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "its syntax is wrong"
        raise refuse(f"is not valid YAML: {what}", "Correct its syntax.", mark.line + 1 if mark else None) from error
    if node is None or not isinstance(content, dict):
        raise refuse("holds no keys", "Write it as a mapping of keys.")
    return node, content


def _repeated_keys(file: str, node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Find keys that stand twice in one mapping; YAML would silently take the later one."""
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
    """Return the path as a reader would write it, and the line of the last of its keys that is there."""
    written: list[str] = []
    line: int | None = None
    for part in path:
        if node is None:
            written.append(str(part))
        elif isinstance(node, yaml.MappingNode):
            # A choice between kinds, such as a label's, is no key of the file: its last word is where it was made.
            pairs = {str(key.value): (key, value) for key, value in node.value}
            chosen = {pairs[key][1].value for key in ("kind", "function") if key in pairs}
            if part in chosen and part not in pairs:
                continue
            written.append(str(part))
            found = pairs.get(str(part))
            line = found[0].start_mark.line + 1 if found else line or node.start_mark.line + 1
            node = found[1] if found else None
        elif isinstance(node, yaml.SequenceNode):
            node = _item(node, part)
            written.append((_name_of(node) if isinstance(part, int) else None) or str(part))
            line = node.start_mark.line + 1 if node is not None else line
        else:
            written.append(str(part))
            node = None
    return ".".join(written), line


def _item(node: yaml.SequenceNode, part: str | int) -> yaml.Node | None:
    if isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    # A feature goes by its name; one with windows by any of the names that it stands for.
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
