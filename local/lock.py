"""``python -m local.lock``: whether the lock still is what pyproject.toml asks for, checked without a network.

The installed packages say what each of them needs, so the set that the project needs can be followed from
pyproject.toml; it must be the set that the lock pins. Versions that have appeared since do not matter.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from include.errors import ChurnflowError
from include.settings import ROOT

LOCKED_FOR = {"python_version": "3.11", "python_full_version": "3.11.0"}
"""What `make lock` compiles for: the first release of 3.11, which some packages serve with backports."""

# Returns what a distribution needs, as written in its metadata; raises PackageNotFoundError.
Needs = Callable[[str], list[str]]


class LockError(ChurnflowError):
    """The lock is not what pyproject.toml asks for."""


def check(project: Path, requires: Needs = lambda name: importlib.metadata.requires(name) or []) -> dict[str, int]:
    """Compare both lock files with pyproject.toml, and return how many packages each pins.

    Args:
        project: The folder of the three files.
        requires: Where needs of packages are read; the current environment when left out.

    Raises:
        LockError: A requirement is missing, pinned outside its bounds, or no longer needed.
    """
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    own = pyproject["project"]["dependencies"]
    groups = pyproject.get("dependency-groups", {})
    wanted = {"requirements.txt": own, "requirements-dev.txt": [*own, *_group(groups, "dev")]}
    for name, direct in wanted.items():
        _compare(project / name, [Requirement(text) for text in direct], requires)
    return {name: len(_pins(project / name)) for name in wanted}


def _compare(lock: Path, direct: list[Requirement], requires: Needs) -> None:
    pins = _pins(lock)
    for requirement in direct:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin, prereleases=True):
            raise _stale(lock, f"It pins {requirement.name} at {pin or 'nothing'}; pyproject.toml asks {requirement}.")
    needed = _closure(direct, requires)
    if lacking := sorted(needed - pins.keys()):
        raise _stale(lock, f"It lacks {', '.join(lacking)}.")
    if surplus := sorted(pins.keys() - needed):
        raise _stale(lock, f"Nothing needs {', '.join(surplus)} any more.")


def _closure(direct: Iterable[Requirement], requires: Needs) -> set[str]:
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in direct]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate(LOCKED_FOR | {"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                queue += [(Requirement(text), wanted) for text in _needs(name, requires)]
    return {name for name, _ in seen}


def _needs(name: str, requires: Needs) -> list[str]:
    try:
        return requires(name)
    except importlib.metadata.PackageNotFoundError:
        return []  # not installed, so not in the lock either: the comparison names it


def _pins(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock.read_text(), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def _group(groups: dict[str, list[Any]], name: str) -> list[str]:
    members: list[str] = []
    for member in groups.get(name, []):
        members += _group(groups, member["include-group"]) if isinstance(member, dict) else [member]
    return members


def _stale(lock: Path, what: str) -> LockError:
    return LockError(f"{lock.name} is out of date. {what}", where=lock.name, remedy="Run `make lock`, then `make env`.")


if __name__ == "__main__":
    try:
        print("The lock is up to date:", ", ".join(f"{name} {count}" for name, count in check(ROOT).items()))
    except LockError as error:
        sys.exit(str(error))
