from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from local.lock import LockError, check

NEEDS = {
    "web": ["core>=1", "tls>=2; extra == 'secure'", "shim; python_version < '3'"],
    "core": [],
    "tls": ["core"],
    "tester": [],
}


def needs(name: str) -> list[str]:
    try:
        return NEEDS[name]
    except KeyError as error:
        raise importlib.metadata.PackageNotFoundError(name) from error


def project(folder: Path, dependencies: str, own: str, dev: str) -> Path:
    (folder / "pyproject.toml").write_text(
        f'[project]\ndependencies = [{dependencies}]\n[dependency-groups]\nlocal = ["tester"]\n'
        'dev = [{ include-group = "local" }]\n'
    )
    (folder / "requirements.txt").write_text(own)
    (folder / "requirements-dev.txt").write_text(dev)
    return folder


def test_a_complete_lock_passes(tmp_path: Path) -> None:
    own = "core==1.5 \\\n    --hash=sha256:aa\nweb==2.0 \\\n    --hash=sha256:bb\n"
    folder = project(tmp_path, '"web>=2"', own, own + "tester==1.0\n")
    assert check(folder, needs) == {"requirements.txt": 2, "requirements-dev.txt": 3}


@pytest.mark.parametrize(
    ("dependencies", "own", "named"),
    [
        ('"web>=3"', "core==1.5\nweb==2.0\n", "web at 2.0"),
        ('"web>=2", "tls"', "core==1.5\nweb==2.0\n", "tls at nothing"),
        ('"web[secure]>=2"', "core==1.5\nweb==2.0\n", "lacks tls"),
        ('"web>=2"', "core==1.5\ntls==2.0\nweb==2.0\n", "needs tls"),
    ],
)
def test_a_stale_lock_names_the_package(tmp_path: Path, dependencies: str, own: str, named: str) -> None:
    folder = project(tmp_path, dependencies, own, own + "tester==1.0\n")
    with pytest.raises(LockError, match=named):
        check(folder, needs)


def test_a_group_is_locked_too(tmp_path: Path) -> None:
    folder = project(tmp_path, '"core"', "core==1.5\n", "core==1.5\n")
    with pytest.raises(LockError, match=r"requirements-dev\.txt is out of date.*tester at nothing"):
        check(folder, needs)
