from __future__ import annotations

from pathlib import Path

import pytest

from local.lock import LOCKS, digest, stale_locks

PYPROJECT = """
[project]
requires-python = ">=3.11"
dependencies = ["web>=2", "core"]
[dependency-groups]
dev = ["tester>=1"]
[tool.uv]
environments = ["sys_platform == 'linux'"]
[tool.ruff]
line-length = 100
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    for name in LOCKS:
        (tmp_path / name).write_text(f"# command:\n#    make lock ({digest(tmp_path)})\ncore==1.5\nweb==2.0\n")
    return tmp_path


@pytest.mark.parametrize("change", [("", ""), ("100", "120"), ('"web>=2", "core"', '"core", "web>=2"')])
def test_accepts_changes_that_do_not_affect_the_resolution(project: Path, change: tuple[str, str]) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace(*change))
    assert stale_locks(project) == []


@pytest.mark.parametrize(
    "change",
    [
        ('"core"', '"core", "tls"'),
        ("web>=2", "web>=3"),
        (">=3.11", ">=3.12"),
        ("tester>=1", "other"),
        ("linux", "darwin"),
    ],
)
def test_reports_locks_compiled_from_other_dependencies(project: Path, change: tuple[str, str]) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace(*change))
    assert stale_locks(project) == list(LOCKS)


def test_reports_a_lock_that_was_not_compiled_again(project: Path) -> None:
    (project / "requirements-dev.txt").write_text("# command:\n#    make lock\ncore==1.5\n")
    assert stale_locks(project) == ["requirements-dev.txt"]
