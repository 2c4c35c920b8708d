"""`make release` in a temporary Git repository with the files that contain the version."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

BUMP = Path(sys.executable).with_name("bump-my-version")
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A feature.\n\n## [0.1.0]\n\n- The first version.\n"


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(root: Path, tmp_path: Path) -> Path:
    shutil.copy(root / "pyproject.toml", tmp_path)
    for name in ("helm", "release"):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "Start")
    return tmp_path


def release(repository: Path, version: str) -> subprocess.CompletedProcess[str]:
    parts = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
    author = {f"GIT_{part}": "test@example.invalid" for part in parts}
    return subprocess.run(
        ["bash", "release/product.sh", version],
        cwd=repository,
        env=author | {"PATH": "/usr/bin:/bin", "BUMP": str(BUMP)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_release_sets_the_version_commits_and_tags(repository: Path) -> None:
    current = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    done = release(repository, "9.8.7")
    assert done.returncode == 0, done.stderr
    assert "git push --follow-tags" in done.stdout
    assert tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"] == "9.8.7"
    charts = [file.read_text() for file in sorted(repository.glob("helm/*/Chart.yaml"))]
    assert all('appVersion: "9.8.7"' in chart for chart in charts)
    assert not any(f'tag: "{current}"' in file.read_text() for file in repository.glob("helm/**/*values.yaml"))
    today = dt.datetime.now(dt.UTC).date()
    heading = f"## [Unreleased]\n\n## [9.8.7] - {today}\n\n### Added\n"
    assert (repository / "CHANGELOG.md").read_text() == CHANGELOG.replace("## [Unreleased]\n\n### Added\n", heading)
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "describe", "--exact-match") == "v9.8.7\n"  # an annotated tag, which --follow-tags pushes


def change_a_file(repository: Path) -> None:
    (repository / "pyproject.toml").open("a").write("# changed\n")


def empty_the_changelog(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace("- A feature.\n", ""))
    git(repository, "commit", "--quiet", "--all", "--message", "No entries")


def leave_main(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "other")


@pytest.mark.parametrize(
    ("version", "prepare", "reason"),
    [
        ("9.8.7", change_a_file, "not clean"),
        ("9.8.7", empty_the_changelog, "no entries"),
        ("9.8.7", leave_main, "branch main"),
        ("9.8", lambda _: None, "not of the form"),
        ("0.0.1", lambda _: None, "not newer"),
    ],
)
def test_refused_release_changes_nothing(
    repository: Path, version: str, prepare: Callable[[Path], None], reason: str
) -> None:
    prepare(repository)
    before = git(repository, "rev-parse", "HEAD"), git(repository, "diff")
    done = release(repository, version)
    assert done.returncode != 0
    assert reason in done.stderr
    assert (git(repository, "rev-parse", "HEAD"), git(repository, "diff")) == before
    assert git(repository, "tag") == ""
