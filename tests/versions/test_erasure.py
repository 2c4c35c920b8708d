"""Erasure from versions of raw data, in folders and in an object store."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include.lake import Lake
from include.projects import Project
from include.provenance.signature import create_keys
from include.provenance.statement import ProvenanceError
from include.versions.erasure import erase_from_versions
from include.versions.repository import Repository, VersionError
from include.versions.snapshot import create_version
from tests.s3 import s3_server
from tests.versions.conftest import WEEK

pytestmark = pytest.mark.slow

ID = "7"


def households_in(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*.parquet") if path.parent.name in ("transactions", "demographics")]
    return {value for path in files for value in pq.read_table(path)["household_id"].to_pylist()}


def test_versions_in_an_object_store_are_replaced(
    project: Project, lake: Lake, repository: Repository, tmp_path: Path
) -> None:
    private, public = tmp_path / "signing.pem", tmp_path / "public.pem"
    create_keys(private, public)
    with s3_server("versions") as bucket:
        own = Repository(repository.folder, f"{bucket}/raw/grocery", public)
        first = create_version(project, lake, own, WEEK.first)
        whole = create_version(project, lake, own, WEEK.last)
        own.push(whole.revision)  # the first version is in the cache only
        assert erase_from_versions(project, own, ID.__eq__, private, dry_run=True)
        changed = {item.replaced: item for item in erase_from_versions(project, own, ID.__eq__, private, dry_run=False)}
        assert changed.keys() == {first.revision, whole.revision}
        assert erase_from_versions(project, own, ID.__eq__, private, dry_run=False) == []
        elsewhere = Repository(tmp_path / "elsewhere", own.remote, public)
        pulled = elsewhere.pull(whole.revision, tmp_path / "pulled")
        names = (f"bronze/{name}" for name in ("transactions", "demographics"))
        before = {value for name in names for value in lake.table(name).read(WEEK)["household_id"].to_pylist()}
        assert households_in(pulled) == before - {ID} != before
        assert [version.revision for version in own.versions()] == [
            changed[version.revision].revision for version in (first, whole)
        ]
        assert own.version(whole.revision).bytes == whole.bytes - changed[whole.revision].bytes_removed
        own.push(first.revision)
        assert ID not in households_in(elsewhere.pull(first.revision, tmp_path / "first"))
        # An unsigned record is refused where signatures are required.
        own.replace(changed[whole.revision].revision, first.revision, 0, None)
        with pytest.raises(ProvenanceError, match="not signed"):
            elsewhere.pull(whole.revision, tmp_path / "again")


def test_later_version_is_complete_without_the_customer(project: Project, lake: Lake, repository: Repository) -> None:
    version = create_version(project, lake, repository, WEEK.last)
    (changed,) = erase_from_versions(project, repository, ID.__eq__, None, dry_run=False)
    assert ID not in households_in(repository.raw)
    # Bronze still has the rows in this test, so that the same version is created again.
    assert create_version(project, lake, repository, WEEK.last).revision == version.revision
    assert changed.revision != version.revision


def test_versions_without_the_customer_are_unchanged(project: Project, lake: Lake, repository: Repository) -> None:
    version = create_version(project, lake, repository, WEEK.last)
    repository.push(version.revision)
    assert erase_from_versions(project, repository, "unknown".__eq__, None, dry_run=False) == []
    assert repository.versions() == [version]
    with pytest.raises(VersionError, match="not created here"):
        repository.version("0" * 32)
