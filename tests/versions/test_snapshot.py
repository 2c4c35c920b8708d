from __future__ import annotations

import datetime as dt
import hashlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE, bronze_table
from include.projects import Project
from include.settings import ROOT
from include.sources.bronze_tables import FILE, ROW
from include.versions.repository import Repository, VersionError
from include.versions.snapshot import create_version, import_bronze
from tests.versions.conftest import WEEK
from tests.versions.world import load
from tests.world import transactions, write_transactions, write_world

pytestmark = pytest.mark.slow  # importing DVC takes a second


def content(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def bronze(lake: Lake, source: str) -> list[dict]:
    rows = lake.table(bronze_table(source)).read(WEEK).to_pylist()
    return sorted(rows, key=lambda row: (row["dt"], row[FILE], row[ROW]))


def test_revision_does_not_depend_on_how_the_data_was_loaded(
    project: Project, lake: Lake, landing: Path, repository: Repository, tmp_path: Path
) -> None:
    version = create_version(project, lake, repository, WEEK.last)
    assert create_version(project, lake, repository, WEEK.last) == version
    assert version.files == len(content(repository.raw))

    # Loading each day again in reverse order gives other Delta files with the same rows.
    for day in reversed(list(WEEK)):
        load(project, lake, landing, DayRange.single(day))
    again = create_version(project, lake, repository, WEEK.last)
    assert again.revision == version.revision
    assert again.tables["bronze/transactions"] > version.tables["bronze/transactions"]

    # Another lake and another repository give the same revision.
    other = Lake(str(tmp_path / "other"))
    load(project, other, landing, WEEK)
    elsewhere = Repository(tmp_path / "elsewhere", str(tmp_path / "remote"))
    assert create_version(project, other, elsewhere, WEEK.last).revision == version.revision


def test_changed_data_gives_a_new_revision_and_keeps_the_old_revision(
    project: Project, lake: Lake, landing: Path, repository: Repository, tmp_path: Path
) -> None:
    before = create_version(project, lake, repository, WEEK.last)
    old = content(repository.raw)
    repository.push(before.revision)

    corrected = tmp_path / "landing"
    write_world(corrected, WEEK)
    write_transactions(corrected, WEEK.last, transactions(WEEK.last, seed=9))
    load(project, lake, corrected, DayRange.single(WEEK.last))
    after = create_version(project, lake, repository, WEEK.last)
    new = content(repository.raw)
    repository.push(after.revision)

    assert after.revision != before.revision
    assert [version.revision for version in repository.versions()] == [before.revision, after.revision]
    assert {name for name in old if old[name] != new[name]} == {
        f"transactions/{WEEK.last}.parquet",
        f"_deliveries/{WEEK.last}.parquet",
    }
    assert content(repository.pull(before.revision, tmp_path / "old")) == old
    assert content(repository.pull(after.revision, tmp_path / "new")) == new


def test_later_days_do_not_change_the_version_of_an_earlier_day(
    project: Project, lake: Lake, repository: Repository
) -> None:
    middle = WEEK.first + dt.timedelta(days=3)
    early = create_version(project, lake, repository, middle)
    assert max(pq.read_table(path)["dt"][0].as_py() for path in repository.raw.rglob("*.parquet")) == middle
    late = create_version(project, lake, repository, WEEK.last)
    assert (late.revision != early.revision, late.files > early.files) == (True, True)
    assert create_version(project, lake, repository, middle).revision == early.revision


def test_import_restores_bronze(project: Project, lake: Lake, repository: Repository, tmp_path: Path) -> None:
    create_version(project, lake, repository, WEEK.last)
    copy = Lake(str(tmp_path / "copy"))
    assert import_bronze(project, repository.raw, copy) == WEEK
    for source in project.sources:
        assert bronze(copy, source) == bronze(lake, source)
    assert copy.table(DELIVERIES_TABLE).count() == lake.table(DELIVERIES_TABLE).count()


def test_version_of_an_empty_lake_is_an_error(project: Project, repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="Nothing was loaded"):
        create_version(project, Lake(str(tmp_path / "empty")), repository, WEEK.last)
    with pytest.raises(VersionError, match="was not created here"):
        repository.push("0" * 32)
    assert repository.versions() == []


KILLED = """
import datetime as dt, os, signal, sys
from pathlib import Path
from include.lake import Lake
from include.projects import load_project
from include.versions.repository import Repository
from include.versions.snapshot import create_version

stored = 0

def kill_process_while_dvc_stores_files(event, arguments):
    global stored
    if event in ("os.rename", "os.link") and ".dvc" in str(arguments[1]):
        stored += 1
        if stored == 5:
            os.kill(os.getpid(), signal.SIGKILL)

lake, folder, remote, day = sys.argv[1:]
sys.addaudithook(kill_process_while_dvc_stores_files)
create_version(load_project("grocery"), Lake(lake), Repository(Path(folder), remote), dt.date.fromisoformat(day))
"""


def test_killed_snapshot_leaves_other_versions_valid(
    project: Project, lake: Lake, landing: Path, repository: Repository, tmp_path: Path
) -> None:
    middle = WEEK.first + dt.timedelta(days=3)
    early = create_version(project, lake, repository, middle)
    repository.push(early.revision)
    whole = content(repository.raw)
    arguments = [lake.uri, str(repository.folder), repository.remote, str(WEEK.last)]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, *arguments], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(content(repository.raw)) > len(whole)
    assert [version.revision for version in repository.versions()] == [early.revision]
    assert content(repository.pull(early.revision, tmp_path / "early")) == whole

    late = create_version(project, lake, repository, WEEK.last)
    untouched = Repository(tmp_path / "untouched", str(tmp_path / "remote"))
    assert late.revision == create_version(project, lake, untouched, WEEK.last).revision
    repository.push(late.revision)
    assert content(repository.pull(late.revision, tmp_path / "late")) == content(untouched.raw)


def test_concurrent_snapshots_wait_for_each_other(
    project: Project, lake: Lake, repository: Repository, tmp_path: Path
) -> None:
    days = [WEEK.first + dt.timedelta(days=ahead) for ahead in (6, 2, 4)]
    with ThreadPoolExecutor(len(days)) as threads:
        made = list(threads.map(lambda day: create_version(project, lake, repository, day).revision, days))
    alone = Repository(tmp_path / "alone", str(tmp_path / "remote"))
    assert made == [create_version(project, lake, alone, day).revision for day in days]
    assert {version.revision for version in repository.versions()} == set(made)
