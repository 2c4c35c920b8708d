from __future__ import annotations

from pathlib import Path

import pytest

from include.lake import Lake
from include.projects import Project
from include.settings import Settings, SettingsError, get_settings
from include.versions.repository import Repository, VersionError, open_repository
from include.versions.snapshot import create_version
from tests.s3 import s3_server
from tests.versions.conftest import WEEK
from tests.versions.test_snapshot import content

pytestmark = pytest.mark.slow


def test_remote_may_be_an_object_store(project: Project, lake: Lake, repository: Repository, tmp_path: Path) -> None:
    with s3_server("versions") as bucket:
        remote = Repository(repository.folder, f"{bucket}/raw/grocery")
        version = create_version(project, lake, remote, WEEK.last)
        assert version.remote == "s3://versions/raw/grocery"
        assert remote.push(version.revision) == version.files + 1  # and the directory object
        assert remote.push(version.revision) == 0
        elsewhere = Repository(tmp_path / "elsewhere", remote.remote)
        assert content(elsewhere.pull(version.revision, tmp_path / "pulled")) == content(remote.raw)
        with pytest.raises(VersionError, match="cannot be pushed"):
            Repository(repository.folder, "s3://nowhere/raw").push(version.revision)


def test_pull_rejects_damaged_files(project: Project, lake: Lake, repository: Repository, tmp_path: Path) -> None:
    version = create_version(project, lake, repository, WEEK.last)
    repository.push(version.revision)
    stored = sorted(path for path in Path(repository.remote).rglob("*") if path.is_file() and path.suffix != ".dir")
    stored[0].chmod(0o644)
    stored[0].write_bytes(b"something else")
    with pytest.raises(VersionError, match="damaged"):
        repository.pull(version.revision, tmp_path / "pulled")
    assert not list((tmp_path / "pulled").iterdir())


def test_pull_needs_a_pushed_revision_and_an_empty_folder(
    project: Project, lake: Lake, repository: Repository, tmp_path: Path
) -> None:
    version = create_version(project, lake, repository, WEEK.last)
    with pytest.raises(VersionError, match="cannot be pulled"):
        repository.pull(version.revision, tmp_path / "pulled")
    repository.push(version.revision)
    assert (repository.folder / ".dvc").stat().st_mode & 0o077 == 0
    repository.pull(version.revision, tmp_path / "pulled")
    with pytest.raises(VersionError, match="folder exists"):
        repository.pull(version.revision, tmp_path / "pulled")


def test_settings_determine_the_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = open_repository(Settings(home=tmp_path))
    assert own.remote == str(tmp_path / "versions" / "remote" / "grocery")
    shared = open_repository(Settings(home=tmp_path, versions={"remote": "s3://shop/versions/"}))
    assert shared.remote == "s3://shop/versions/grocery"
    # Addresses are recorded in runs, so they must not contain credentials.
    monkeypatch.setenv("CHURN_VERSIONS__REMOTE", "s3://key:secret@shop/versions")
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="CHURN_VERSIONS__REMOTE"):
        get_settings()
    get_settings.cache_clear()
